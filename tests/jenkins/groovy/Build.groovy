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
    List<String> meanwhile // a command, which others run while approval is waited for
    double softKillSeconds, giveUpSeconds
    String result = 'SUCCESS'
    String description
    String cookie = UUID.randomUUID().toString()
    volatile String aborting
    private volatile long abortedAt
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

    // In a shell of a shell, as Jenkins' durable tasks are. One that is stopped has its time to end;
    // after that the build goes on, and the process too.
    int sh(String script, Map<String, String> env) {
        if (aborting) throw new Aborted(aborting)
        def inner = ['sh', '-c', 'sh -xe -c "$1"; exit $?', 'durable', script]
        def builder = new ProcessBuilder(inner).directory(workspace).redirectErrorStream(true)
        builder.environment().putAll(env)
        builder.environment().put('JENKINS_SERVER_COOKIE', cookie)
        def process = builder.start()
        process.outputStream.close()
        def reader = Thread.startDaemon {
            process.inputStream.withReader('UTF-8') { lines -> lines.eachLine { say(it) } }
        }
        while (reader.alive && !(aborting && secondsSince(abortedAt) > giveUpSeconds)) reader.join(50)
        if (reader.alive) say("After ${giveUpSeconds}s process did not stop")
        if (aborting) throw new Aborted(aborting)
        return process.waitFor()
    }

    // As Jenkins stops a step (hudson.util.ProcessTree): each process that bears the build's cookie with all
    // its descendants, these first; SIGTERM, a wait, SIGTERM to the next one.
    void abort(String why) {
        if (aborting) return
        abortedAt = System.nanoTime()
        aborting = why
        say(why)
        def parents = [:]
        new File('/proc').eachDirMatch(~/\d+/) { folder ->
            parents[folder.name] = read(folder, 'status').readLines().find { it.startsWith('PPid:') }?.substring(5)?.trim()
        }
        parents.keySet().findAll { bearsCookie(it) }.each { killTree(it, parents, System.nanoTime()) }
    }

    private void killTree(String pid, Map<String, String> parents, long began) {
        parents.findAll { it.value == pid }.keySet().each { killTree(it, parents, began) }
        ['kill', '-TERM', pid].execute().waitFor()
        while (new File("/proc/${pid}").exists() && secondsSince(began) < softKillSeconds) sleep(10)
    }

    private boolean bearsCookie(String pid) {
        read(new File("/proc/${pid}"), 'environ').split('\0').contains("JENKINS_SERVER_COOKIE=${cookie}".toString())
    }

    // Empty for a process that has ended, or is somebody else's.
    private static String read(File folder, String name) {
        try {
            return new String(Files.readAllBytes(Paths.get("${folder}/${name}")))
        } catch (IOException gone) {
            return ''
        }
    }

    private static double secondsSince(long moment) { (System.nanoTime() - moment) / 1e9 }
}
