// Stages in their order, and what becomes of each.

class Runner {
    Build build

    // Gives the worst of their results.
    String stages(List<Stage> stages, Steps steps) {
        def became = 'SUCCESS'
        stages.each { stage ->
            if (build.result in ['FAILURE', 'ABORTED']) {
                build.note(event: 'stage', name: stage.name, result: 'SKIPPED', why: 'earlier failure')
            } else {
                became = worse(became, one(stage, steps))
            }
        }
        return became
    }

    String one(Stage stage, Steps outer) {
        build.say("[Pipeline] stage (${stage.name})")
        def own, inside = 'SUCCESS'
        def steps = outer.named(stage.name)
        def timeout = stage.options.find { it.name == 'timeout' }?.value
        def entered = false
        def body = {
            steps = steps.inside(stage.environment)
            if (stage.when && !holds(stage.when, steps)) return
            entered = true
            if (stage.steps) steps.run(stage.steps)
            else inside = stage.parallel ? together(stage.children, steps) : stages(stage.children, steps)
        }
        own = worse(guarded { timeout ? steps.limited(timeout, body) : body() }, inside)
        if (entered) own = worse(own, post(stage.post, steps, own))
        build.note(event: 'stage', name: stage.name, result: entered || own != 'SUCCESS' ? own : 'SKIPPED')
        return own
    }

    String together(List<Stage> stages, Steps steps) {
        def became = Collections.synchronizedList([])
        stages.collect { stage -> Thread.start { became << one(stage, steps) } }*.join()
        return became.inject('SUCCESS') { one, other -> worse(one, other) }
    }

    // Runs it, and gives what became of it.
    String guarded(Closure body) {
        try {
            body()
            return 'SUCCESS'
        } catch (Aborted aborted) {
            build.worsen('ABORTED')
            return 'ABORTED'
        } catch (Failed failed) {
            build.say("ERROR: ${failed.message}")
            build.worsen('FAILURE')
            return 'FAILURE'
        }
    }

    boolean holds(When condition, Steps steps) { condition.expressions.every { steps.run(it) } }

    String post(Map<String, Closure> conditions, Steps steps, String own) {
        def names = [SUCCESS: 'success', UNSTABLE: 'unstable', FAILURE: 'failure', ABORTED: 'aborted']
        def due = ['always', names[own], 'cleanup']
        def became = 'SUCCESS'
        build.aborting = null // what is in post runs after an abort, too
        Post.CONDITIONS.findAll { it in due && conditions[it] }.each { condition ->
            became = worse(became, guarded { steps.run(conditions[condition]) })
        }
        return became
    }

    static String worse(String one, String other) {
        [one, other].max { Build.RESULTS.indexOf(it) }
    }
}
