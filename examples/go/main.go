// keymend from Go: one key reconciled, asked for, retried or skipped, through Temporal alone.
//
//	go run . reconcile east-to-west user:42
//
// The names and the JSON are keymend's contract (docs/other-services.md).
package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

var (
	taskQueue = cmp.Or(os.Getenv("KEYMEND_TASK_QUEUE"), "keymend")
	// workflowIdPrefix of the link in keymend.yaml.
	prefix = os.Getenv("KEYMEND_PREFIX")
)

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// workflowID is the key itself where a person can read it, else the digest of its bytes.
func workflowID(key string) string {
	whole := prefix + key
	fits := key != "" && utf8.RuneCountInString(whole) <= 255 && len(whole) <= 1000
	readable := utf8.ValidString(key) &&
		!strings.ContainsFunc(key, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) })
	taken := strings.HasPrefix(key, "keymend/") || strings.HasPrefix(whole, "keymend/") || digest.MatchString(key)
	if fits && readable && !taken {
		return whole
	}
	return fmt.Sprintf("%ssha256:%x", prefix, sha256.Sum256([]byte(key)))
}

// reconcile starts the workflow of the key if none runs, and waits for what comes of it.
func reconcile(ctx context.Context, temporal client.Client, link, key string) (map[string]any, error) {
	start := temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID:                       workflowID(key),
		TaskQueue:                taskQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, "reconcileKey", map[string]any{"link": link, "key": key, "version": 3})
	update, err := temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateName:   "reconcileNow",
			Args:         []any{map[string]any{}},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return nil, err
	}
	var result map[string]any
	return result, update.Get(ctx, &result)
}

func run(ctx context.Context, verb, link, key, reason string) (map[string]any, error) {
	if verb == "id" {
		return map[string]any{"workflowId": workflowID(key)}, nil
	}
	service, err := client.Dial(client.Options{HostPort: cmp.Or(os.Getenv("TEMPORAL_ADDRESS"), "localhost:7233")})
	if err != nil {
		return nil, err
	}
	defer service.Close()
	if verb == "reconcile" {
		for {
			result, err := reconcile(ctx, service, link, key)
			var failed *temporal.ApplicationError
			if !errors.As(err, &failed) {
				return result, err
			}
			// The run that was asked has made room for a new one; that one is asked instead.
			if failed.Type() != "ContinuedAsNew" {
				return map[string]any{"error": failed.Type(), "message": failed.Message()}, nil
			}
		}
	}
	// A workflow of somebody else takes any signal, and does nothing with it.
	described, err := service.DescribeWorkflowExecution(ctx, workflowID(key), "")
	if err != nil {
		return nil, err
	}
	if kind := described.WorkflowExecutionInfo.Type.Name; kind != "reconcileKey" {
		return map[string]any{"error": "WorkflowIdTaken", "message": "a workflow of type " + kind}, nil
	}
	switch verb {
	case "retry":
		err = service.SignalWorkflow(ctx, workflowID(key), "", "retry", nil)
	case "skip":
		err = service.SignalWorkflow(ctx, workflowID(key), "", "skip", map[string]string{"reason": reason})
	}
	if err != nil {
		return nil, err
	}
	answer, err := service.QueryWorkflow(ctx, workflowID(key), "", "status")
	if err != nil {
		return nil, err
	}
	var status map[string]any
	return status, answer.Get(&status)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if len(os.Args) < 4 {
		log.Fatal("usage: id|reconcile|status|retry|skip LINK KEY [REASON]")
	}
	result, err := run(ctx, os.Args[1], os.Args[2], os.Args[3], strings.Join(os.Args[4:], " "))
	if err != nil {
		log.Fatal(err)
	}
	json.NewEncoder(os.Stdout).Encode(result)
}
