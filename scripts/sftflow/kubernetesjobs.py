"""On Kubernetes the work folder is a volume that all pods share.

snakemake-executor-plugin-kubernetes 0.5.1 takes it for granted that nothing is shared, whatever
--shared-fs-usage says: inputs and results would go through object storage, where this workflow
could not tell by content what is stale. The volume is there (--kubernetes-persistent-volumes), so
the executor is told so before Snakemake asks it.
"""

from __future__ import annotations

import sys

PLUGIN = "snakemake_executor_plugin_kubernetes"


def share_the_volume() -> None:
    """Let the executor believe --shared-fs-usage, if Snakemake has loaded it."""
    plugin = sys.modules.get(PLUGIN)
    if plugin is None:
        return
    said = plugin.common_settings
    said.implies_no_shared_fs = False
    said.job_deploy_sources = False
    said.auto_deploy_default_storage_provider = False
