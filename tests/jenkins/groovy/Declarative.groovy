// The declarative part of a Jenkinsfile, read into plain objects. What it does not know is an error:
// a directive that Jenkins would refuse, or that nobody has taught this file, never passes unseen.

class Refused extends RuntimeException {
    Refused(String message) { super(message) }
}

class Directives {
    static Object read(Closure body, Object delegate) {
        def copy = (Closure) body.clone()
        copy.delegate = delegate
        copy.resolveStrategy = Closure.DELEGATE_FIRST
        copy.call()
        return delegate
    }
}

// name -> arguments of each call, for sections that are lists of settings.
class Calls {
    List<String> known
    List<Map> found = []

    def methodMissing(String name, Object given) {
        def arguments = given as List
        if (known && !(name in known)) throw new Refused("unknown directive '${name}'")
        def call = [name: name, value: arguments ? arguments[0] : null]
        found << call
        return call
    }

    Map first(String name) { found.find { it.name == name } }
}

class Stage {
    String name
    Closure steps, environment
    When when
    List<Map> options = []
    List<Stage> children = []
    boolean parallel = false
    Map<String, Closure> post = [:]

    void steps(Closure body) { steps = body }
    void environment(Closure body) { environment = body }
    void when(Closure body) { when = (When) Directives.read(body, new When()) }
    void post(Closure body) { post = Post.read(body) }
    void options(Closure body) { options = ((Calls) Directives.read(body, new Calls(known: ['timeout']))).found }
    void stages(Closure body) { children = Stages.read(body) }
    void parallel(Closure body) { parallel = true; children = Stages.read(body) }
    def methodMissing(String directive, Object given) {
        throw new Refused("stage '${name}' has the unknown directive '${directive}'")
    }
    void check() {
        if ([steps != null, !children.empty].count(true) != 1) {
            throw new Refused("stage '${name}' needs exactly one of steps, stages, parallel")
        }
        children*.check()
    }
}

class Stages {
    List<Stage> found = []

    void stage(String name, Closure body) { found << (Stage) Directives.read(body, new Stage(name: name)) }
    static List<Stage> read(Closure body) { ((Stages) Directives.read(body, new Stages())).found }
}

class When {
    List<Closure> expressions = []

    void expression(Closure body) { expressions << body }
    def methodMissing(String name, Object given) { throw new Refused("unknown condition '${name}' in when") }
}

class Post {
    // In the order in which Jenkins runs them.
    static final List<String> CONDITIONS = ['always', 'aborted', 'failure', 'success', 'unstable', 'cleanup']

    static Map<String, Closure> read(Closure body) {
        def calls = (Calls) Directives.read(body, new Calls(known: CONDITIONS))
        return calls.found.collectEntries { [it.name, it.value] }
    }
}

class Pipeline {
    Map agent
    List<Map> parameters = [], triggers = [], options = []
    Closure environment
    List<Stage> stages = []
    Map<String, Closure> post = [:]
    String any = 'any'

    void agent(String given) { agent = [any: given] }
    void agent(Closure body) { agent = ((Calls) Directives.read(body, new Calls(known: ['label', 'docker']))).found[0] }
    void environment(Closure body) { environment = body }
    void stages(Closure body) { stages = Stages.read(body); stages*.check() }
    void post(Closure body) { post = Post.read(body) }
    void parameters(Closure body) { parameters = read(body, ['string', 'choice', 'booleanParam']) }
    void triggers(Closure body) { triggers = read(body, ['githubPush', 'pollSCM', 'cron']) }
    void options(Closure body) {
        options = read(body, ['disableConcurrentBuilds', 'timeout', 'timestamps', 'buildDiscarder', 'logRotator'])
    }
    private static List<Map> read(Closure body, List<String> known) {
        ((Calls) Directives.read(body, new Calls(known: known))).found
    }
    def methodMissing(String name, Object given) { throw new Refused("unknown directive '${name}' in pipeline") }

    void check() {
        if (!agent) throw new Refused('pipeline has no agent')
        if (!stages) throw new Refused('pipeline has no stages')
    }

    Map<String, Object> parameterValues(Map<String, Object> given) {
        def names = parameters*.value*.name
        def unknown = given.keySet() - names
        if (unknown) throw new Refused("no such parameters: ${unknown}")
        return parameters.collectEntries { one ->
            def spec = one.value as Map
            def value = given.containsKey(spec.name) ? given[spec.name] : spec.defaultValue
            if (one.name == 'choice') {
                value = value ?: spec.choices[0]
                if (!(value in spec.choices)) throw new Refused("${spec.name} is none of ${spec.choices}")
            }
            [spec.name, value]
        }
    }
}
