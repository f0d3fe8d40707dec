// A build from its settings to its result.

import groovy.json.JsonSlurper
import java.nio.channels.FileChannel
import java.nio.file.StandardOpenOption
import sun.misc.Signal
import sun.misc.SignalHandler

class Main {
    static int run(String settingsFile) {
        def settings = new JsonSlurper().parse(new File(settingsFile))
        def pipeline = new Pipeline()
        def shell = new GroovyShell(Main.classLoader, new Binding([pipeline: { Closure body ->
            Directives.read(body, pipeline)
        }]))
        shell.evaluate(new File(settings.jenkinsfile))
        pipeline.check()

        def build = new Build(
            workspace: new File(settings.workspace), events: new File(settings.events),
            credentials: settings.credentials, approve: settings.approve, meanwhile: settings.meanwhile,
            softKillSeconds: settings.softKillSeconds, giveUpSeconds: settings.giveUpSeconds
        )
        build.params = pipeline.parameterValues(settings.params)
        Signal.handle(new Signal('TERM'), { build.abort('Aborted by a person') } as SignalHandler)

        Map<String, String> base = settings.environment + [WORKSPACE: build.workspace.path]
        // The first build of a branch is begun before Jenkins knows that there are any.
        if (!settings.first) base += build.params.collectEntries { name, value -> [name, value as String] }
        // Variables of the process stand behind env, as those of an agent do.
        def env = (System.getenv() + base) as Map<String, String>
        def top = new Steps(build: build, env: env, currentBuild: new CurrentBuild(build: build))

        def alone = pipeline.options.any { it.name == 'disableConcurrentBuilds' }
        def lock = alone ? FileChannel.open(
            new File("${build.workspace.path}.lock").toPath(), StandardOpenOption.CREATE, StandardOpenOption.WRITE
        ).lock() : null
        def runner = new Runner(build: build)
        build.note(event: 'started', agent: pipeline.agent, triggers: pipeline.triggers*.name, options: pipeline.options*.name)
        def limit = pipeline.options.find { it.name == 'timeout' }?.value
        def inner = top
        runner.guarded {
            inner = top.inside(pipeline.environment)
            def body = { runner.stages(pipeline.stages, inner) }
            limit ? inner.limited(limit, body) : body()
        }
        runner.post(pipeline.post, inner, build.result)
        build.note(event: 'finished', result: build.result, description: build.description)
        build.say("Finished: ${build.result}")
        lock?.release()
        return Build.RESULTS.indexOf(build.result)
    }
}
