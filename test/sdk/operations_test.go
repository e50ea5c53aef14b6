package sdk_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"berth/internal/ecr"
	"berth/internal/ecr/ecrtest"
	"berth/internal/server/servertest"
)

// unrouted names the operations of the model that are not offered yet.
func unrouted() []string {
	return []string{}
}

// TestEveryOperation makes a valid call of each operation and every call that
// violates one constraint.
func TestEveryOperation(t *testing.T) {
	since := now()
	server := servertest.Start(t)
	server.Secret("ecr-pullthroughcache/hub", "nothing")
	calls := validCalls()
	for _, op := range ecr.Operations() {
		t.Run(op.Name, func(t *testing.T) {
			w := newWorld(t, server, op.Name)
			_, answer := w.raw(op.Name, []byte("{"))
			offered := exceptionOf(t, answer) != ecr.CodeUnknownOperation
			valid, tested := calls[op.Name]
			switch {
			case offered && slices.Contains(unrouted(), op.Name):
				t.Fatal("is offered: take it off the list of unrouted operations and give it a valid call")
			case !offered && !slices.Contains(unrouted(), op.Name):
				t.Fatal("is not offered, and not in the list of unrouted operations")
			case !offered && tested:
				t.Fatal("has a valid call and is not offered")
			case !offered:
				return
			case !tested:
				t.Fatal("has no valid call in validCalls")
			}
			violate(w, op)
			if err := valid.call(w); err != nil {
				t.Fatal(err)
			}
			if w.last.operation != op.Name {
				t.Fatalf("the valid call ends with %s", w.last.operation)
			}
			for _, wrong := range read(op.Output, w.last.answer, since, valid.lacks) {
				t.Error(wrong)
			}
			if t.Failed() {
				t.Logf("the answer: %.2000s", w.last.answer)
			}
		})
	}
	for name := range calls {
		if _, ok := ecr.LookupOperation(name); !ok {
			t.Errorf("%s is not in the model", name)
		}
	}
	for _, name := range unrouted() {
		if _, ok := ecr.LookupOperation(name); !ok {
			t.Errorf("%s, which is listed as unrouted, is not in the model", name)
		}
	}
}

// violate sends every call that violates one constraint of an operation.
func violate(w *world, op *ecr.Operation) {
	w.Helper()
	if len(op.Input.Members) == 0 {
		return
	}
	if !slices.Contains(op.Errors, ecr.CodeInvalidParameter) && len(op.Errors) > 0 {
		w.Errorf("the model has no InvalidParameterException for it")
	}
	ecrtest.Violations(w, op.Input, ecrtest.Sample(w, op.Input, true), func(v ecrtest.Violation) {
		body, err := json.Marshal(v.Value)
		if err != nil {
			w.Fatal(err)
		}
		status, answer := w.raw(op.Name, body)
		want, err := json.Marshal(map[string]string{
			"__type":  ecr.CodeInvalidParameter,
			"message": fmt.Sprintf("Invalid parameter at '%s' failed to satisfy constraint: '%s'", v.Member, v.Text),
		})
		if err != nil {
			w.Fatal(err)
		}
		if status != http.StatusBadRequest || !sameJSON(w, answer, want) {
			w.Errorf("%.300s: %d %s\nwant 400 %s", body, status, answer, want)
		}
	})
}

func sameJSON(w *world, a, b []byte) bool {
	w.Helper()
	var x, y map[string]string
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

func exceptionOf(t *testing.T, answer []byte) string {
	t.Helper()
	var e struct {
		Type string `json:"__type"`
	}
	if err := json.Unmarshal(answer, &e); err != nil || e.Type == "" {
		t.Fatalf("%s is no exception: %v", answer, err)
	}
	return e.Type
}
