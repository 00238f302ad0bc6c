// Judges objects as ArgoCD does: whether what is live differs from what Git has, and how healthy it
// is. Reads one request in JSON a line ({desired, live, script}), answers each with one line.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type answer struct {
	Error    string          `json:"error,omitempty"`
	Modified bool            `json:"modified"`
	Live     json.RawMessage `json:"live,omitempty"`
	// The live object as it would be after a sync.
	Predicted json.RawMessage      `json:"predicted,omitempty"`
	Health    *health.HealthStatus `json:"health,omitempty"`
}

type script string

func (s script) GetResourceHealth(object *unstructured.Unstructured) (*health.HealthStatus, error) {
	if s == "" {
		return nil, nil
	}
	return run(object, string(s))
}

// Whether a live object differs from what Git has (desired may be left out), and how healthy it is, by
// a health check in Lua or by ArgoCD's own for the kind.
func judge(desired, live, lua json.RawMessage) (*answer, error) {
	object, err := read(live)
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	var check script
	if lua != nil {
		if err := json.Unmarshal(lua, &check); err != nil {
			return nil, fmt.Errorf("script: %w", err)
		}
	}
	var given answer
	if given.Health, err = health.GetResourceHealth(object, check); err != nil {
		return nil, fmt.Errorf("health: %w", err)
	}
	if desired == nil {
		return &given, nil
	}
	wanted, err := read(desired)
	if err != nil {
		return nil, fmt.Errorf("desired: %w", err)
	}
	result, err := diff.Diff(wanted, object, diff.WithLogr(logr.Discard()))
	if err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	if given.Modified = result.Modified; result.Modified {
		given.Live, given.Predicted = result.NormalizedLive, result.PredictedLive
	}
	return &given, nil
}

// Integers stay integers, as the clients of Kubernetes read them.
func read(raw json.RawMessage) (*unstructured.Unstructured, error) {
	var object unstructured.Unstructured
	return &object, object.UnmarshalJSON(raw)
}

func main() {
	decoder, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for decoder.More() {
		var raw struct{ Desired, Live, Script json.RawMessage }
		if err := decoder.Decode(&raw); err != nil {
			fmt.Fprintln(os.Stderr, "not JSON:", err)
			os.Exit(1)
		}
		given, err := judge(raw.Desired, raw.Live, raw.Script)
		if err != nil {
			given = &answer{Error: err.Error()}
		}
		if err := out.Encode(given); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
