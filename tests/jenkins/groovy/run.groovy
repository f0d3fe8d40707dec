// Runs a declarative Jenkinsfile on this machine: `groovy run.groovy settings.json`.
// settings: jenkinsfile, workspace, events, params, credentials, environment, approve (of input),
// meanwhile (a command, run before that), first (build of a branch), softKillSeconds, giveUpSeconds.
// Ends with 0, 1, 2, 3 for SUCCESS, UNSTABLE, FAILURE, ABORTED. SIGTERM aborts the build.

def here = new File(getClass().protectionDomain.codeSource.location.toURI()).parentFile
def loader = new GroovyClassLoader(getClass().classLoader)
// Several classes a file, which Groovy would not find by their names.
['Declarative', 'Build', 'Steps', 'Runner', 'Main'].each { loader.parseClass(new File(here, "${it}.groovy")) }
System.exit(loader.loadClass('Main').run(args[0]))
