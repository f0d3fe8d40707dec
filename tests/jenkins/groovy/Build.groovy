// One build: its result, its secrets, its processes, and what happened, a JSON line an event.

import groovy.json.JsonOutput
import java.nio.file.Files
import java.nio.file.Paths

class Failed extends RuntimeException {
    Failed(String message) { super(message) }
}

class Aborted extends RuntimeException {
    Aborted(String message) { super(message) }
}

class Build {
    static final List<String> RESULTS = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'ABORTED']

    File workspace
    File events
    Map<String, String> credentials = [:]
    Map<String, Object> params = [:]
    Map<String, String> environment = [:]
    Boolean approve
    String result = 'SUCCESS'
    String description
    String cookie = UUID.randomUUID().toString()
    volatile String aborting
    private final Set<String> secrets = Collections.synchronizedSet(new HashSet<String>())

    synchronized void worsen(String to) {
        if (RESULTS.indexOf(to) > RESULTS.indexOf(result)) result = to
    }

    synchronized void note(Map event) { events << JsonOutput.toJson(event) + '\n' }

    void say(String line) {
        def shown = line
        secrets.sort { -it.length() }.each { shown = shown.replace(it, '****') }
        synchronized (this) { System.out.println(shown); System.out.flush() }
    }

    // As Jenkins binds a secret text: its value in the environment, masked from here on.
    String secret(String id) {
        if (!credentials.containsKey(id)) throw new Failed("ERROR: Could not find credentials entry with ID '${id}'")
        def value = credentials[id]
        note(event: 'credential', id: id)
        if (value) secrets << value
        return value
    }

    int sh(String script, Map<String, String> env) {
        if (aborting) throw new Aborted(aborting)
        def builder = new ProcessBuilder('sh', '-xe', '-c', script).directory(workspace).redirectErrorStream(true)
        builder.environment().putAll(env)
        builder.environment().put('JENKINS_SERVER_COOKIE', cookie)
        def process = builder.start()
        process.outputStream.close()
        process.inputStream.withReader('UTF-8') { reader -> reader.eachLine { say(it) } }
        def code = process.waitFor()
        if (aborting) throw new Aborted(aborting)
        return code
    }

    // As Jenkins ends a step: SIGTERM to every process that bears the build's cookie, and only that.
    void abort(String why) {
        if (aborting) return
        aborting = why
        say(why)
        new File('/proc').eachDirMatch(~/\d+/) { folder ->
            try {
                def environ = new String(Files.readAllBytes(Paths.get("${folder}/environ")))
                if (environ.split('\0').contains("JENKINS_SERVER_COOKIE=${cookie}".toString())) {
                    ['kill', '-TERM', folder.name].execute().waitFor()
                }
            } catch (IOException gone) {
                // It has ended, or is somebody else's.
            }
        }
    }
}
