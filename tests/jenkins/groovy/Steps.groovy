// Steps, as they are called in `steps`, `post`, `script` and the conditions of `when`.

import java.nio.file.FileSystems

class CurrentBuild {
    Build build

    String getDescription() { build.description }
    void setDescription(String text) { build.description = text; build.note(event: 'description', text: text) }
    String getCurrentResult() { build.result }
}

// `NAME = value` in an environment block.
class Assignments {
    Steps steps
    Map<String, String> found = [:]

    void setProperty(String name, Object value) {
        if (name in ['steps', 'found']) this.@"${name}" = value
        else found[name] = value as String
    }
    def getProperty(String name) {
        if (name in ['steps', 'found']) return this.@"${name}"
        return found.containsKey(name) ? found[name] : steps.getProperty(name)
    }
    String credentials(String id) { steps.build.secret(id) }
}

class Steps {
    Build build
    Map<String, String> env
    CurrentBuild currentBuild

    Map<String, Object> getParams() { build.params }

    void sh(Object given) {
        def script = given instanceof Map ? given.script : given
        build.note(event: 'sh', stage: env.STAGE_NAME, script: script)
        def code = build.sh(script as String, env)
        if (code) throw new Failed("script returned exit code ${code}")
    }
    void echo(String text) { build.say(text) }
    void error(String text) { throw new Failed(text) }
    boolean fileExists(String path) { new File(build.workspace, path).exists() }
    String readFile(String path) { new File(build.workspace, path).getText('UTF-8') }
    void script(Closure body) { run(body) }

    void withCredentials(List<Map> bindings, Closure body) {
        def bound = bindings.collectEntries { [it.variable, build.secret(it.credentialsId)] }
        new Steps(build: build, env: env + bound, currentBuild: currentBuild).run(body)
    }
    Map string(Map given) { given }

    // Gives who approved it, where their name is asked for and nothing else.
    String input(Map given) {
        if (build.meanwhile) build.meanwhile.execute().waitFor()
        build.note(
            event: 'input', stage: env.STAGE_NAME, message: given.message as String, approved: build.approve,
            submitter: given.submitter
        )
        if (!build.approve) throw new Aborted('Rejected by a person')
        return given.submitterParameter ? 'eve' : null
    }

    void timeout(Map given, Closure body) { limited(given) { run(body) } }

    void limited(Map given, Closure body) {
        def unit = [SECONDS: 1, MINUTES: 60, HOURS: 3600, DAYS: 86400][given.unit ?: 'MINUTES']
        def timer = new Timer(true)
        timer.schedule({ build.abort('Timeout has been exceeded') } as TimerTask, (given.time * unit * 1000) as long)
        try { body.call() } finally { timer.cancel() }
    }

    void junit(Map given) {
        def files = matching(given.testResults as String)
        if (!files && !given.allowEmptyResults) throw new Failed('No test report files were found.')
        def suites = files.collect { new XmlSlurper().parse(it) }
        def cases = suites.collect { it.'**'.findAll { node -> node.name() == 'testcase' } }.flatten()
        def bad = cases.count { it.failure.size() || it.error.size() }
        build.note(event: 'junit', stage: env.STAGE_NAME, tests: cases.size(), failed: bad)
        if (bad) build.worsen('UNSTABLE')
    }
    void recordCoverage(Map given) {
        given.tools.each { tool ->
            if (tool.parser != 'COBERTURA') throw new Failed("unknown parser ${tool.parser}")
            matching(tool.pattern as String).each {
                def parser = new XmlSlurper(false, false, true) // the file names a DTD
                parser.setFeature('http://apache.org/xml/features/nonvalidating/load-external-dtd', false)
                build.note(event: 'coverage', rate: parser.parse(it).'@line-rate'.text() as double)
            }
        }
    }
    void archiveArtifacts(Map given) {
        def files = matching(given.artifacts as String)
        if (!files && !given.allowEmptyArchive) throw new Failed('No artifacts found.')
        build.note(event: 'archive', files: files.collect { build.workspace.toPath().relativize(it.toPath()).toString() })
    }

    private List<File> matching(String pattern) {
        def matcher = FileSystems.default.getPathMatcher("glob:${pattern}")
        def top = new File(build.workspace, pattern.split(/[*?]/)[0])
        if (top.isFile()) return [top]
        def found = []
        if (top.isDirectory()) top.eachFileRecurse { if (it.isFile()) found << it }
        return found.findAll { matcher.matches(build.workspace.toPath().relativize(it.toPath())) }.sort()
    }

    Object run(Closure body) {
        def copy = (Closure) body.clone()
        copy.delegate = this
        copy.resolveStrategy = Closure.DELEGATE_FIRST
        return copy.call()
    }

    Steps inside(Closure environment) {
        if (environment == null) return this
        def assigned = new Assignments(steps: this)
        def copy = (Closure) environment.clone()
        copy.delegate = assigned
        copy.resolveStrategy = Closure.DELEGATE_ONLY
        copy.call()
        return new Steps(build: build, env: env + assigned.found, currentBuild: currentBuild)
    }
    Steps named(String stage) {
        new Steps(build: build, env: env + [STAGE_NAME: stage], currentBuild: currentBuild)
    }
}
