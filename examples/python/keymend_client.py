"""keymend from Python: one key reconciled, asked for, retried or skipped, through Temporal alone.

    pip install temporalio
    python keymend_client.py reconcile east-to-west user:42

The names and the JSON are keymend's contract (docs/other-services.md).
"""

import asyncio
import hashlib
import json
import os
import re
import sys
import unicodedata
from datetime import timedelta

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy

TASK_QUEUE = os.environ.get("KEYMEND_TASK_QUEUE", "keymend")
# `workflowIdPrefix` of the link in keymend.yaml.
PREFIX = os.environ.get("KEYMEND_PREFIX", "")


def workflow_id(key: str) -> str:
    """The key itself where a person can read it, else the digest of its bytes."""
    whole = PREFIX + key
    fits = 0 < len(key) and len(whole) <= 255 and len(whole.encode()) <= 1000
    readable = not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in key)
    taken = key.startswith("keymend/") or whole.startswith("keymend/") or re.fullmatch("sha256:[0-9a-f]{64}", key)
    if fits and readable and not taken:
        return whole
    return f"{PREFIX}sha256:{hashlib.sha256(key.encode()).hexdigest()}"


async def reconcile(client: Client, link: str, key: str) -> dict:
    """Starts the workflow of the key if none runs, and waits for what comes of it."""
    start = WithStartWorkflowOperation(
        "reconcileKey",
        {"link": link, "key": key, "version": 3},
        id=workflow_id(key),
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    return await client.execute_update_with_start_workflow("reconcileNow", {}, start_workflow_operation=start)


async def main(verb: str, link: str, key: str, *reason: str) -> dict:
    if verb == "id":
        return {"workflowId": workflow_id(key)}
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"))
    while verb == "reconcile":
        try:
            return await reconcile(client, link, key)
        except WorkflowUpdateFailedError as error:
            kind = getattr(error.cause, "type", None)
            # The run that was asked has made room for a new one; that one is asked instead.
            if kind != "ContinuedAsNew":
                return {"error": kind, "message": str(error.cause)}
    workflow = client.get_workflow_handle(workflow_id(key))
    # A workflow of somebody else takes any signal, and does nothing with it.
    if (kind := (await workflow.describe()).workflow_type) != "reconcileKey":
        return {"error": "WorkflowIdTaken", "message": f"a workflow of type {kind}"}
    if verb == "retry":
        await workflow.signal("retry")
    if verb == "skip":
        await workflow.signal("skip", {"reason": " ".join(reason)})
    return await workflow.query("status", rpc_timeout=timedelta(seconds=10))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))), flush=True)
    # Threads of the SDK may outlive its client, and abort an interpreter that ends
    # (https://github.com/temporalio/sdk-python/issues/300).
    os._exit(0)
