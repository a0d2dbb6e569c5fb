"""Rules that have an environment of their own; all others share envs/conda.yaml.

needs:  cluster.environments of the config, and --sdm conda or --sdm env-modules
makes:  nothing of its own
"""

from pathlib import Path

from sftflow.environments import give_environment, unknown_rules

ENVIRONMENTS = CONFIG["cluster"]["environments"]
unknown = unknown_rules(ENVIRONMENTS, {rule.name: rule for rule in workflow.rules})
if unknown:
    sys.exit("\n".join(f"config error: {fault}" for fault in unknown))
for name, environment in ENVIRONMENTS.items():
    give_environment(
        workflow.get_rule(name),
        environment,
        workflow.deployment_settings.deployment_method,
        content_digest,
        Path(CONFIG["root"]).resolve(),
    )
