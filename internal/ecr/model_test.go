package ecr_test

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "berth/internal/ecr"
	"berth/internal/ecr/ecrtest"
)

// TestTypesFollowShapes holds the generated structs to the generated shapes: bind relies on the order of fields.
func TestTypesFollowShapes(t *testing.T) {
	for _, op := range Operations() {
		checkType(t, op.Input, reflect.TypeOf(op.NewInput()).Elem())
		checkType(t, op.Output, reflect.TypeOf(op.NewOutput()).Elem())
	}
}

func checkType(t *testing.T, s *Shape, typ reflect.Type) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := map[Kind]reflect.Kind{
		KindStructure: reflect.Struct, KindTimestamp: reflect.Struct, KindList: reflect.Slice, KindMap: reflect.Map,
		KindString: reflect.String, KindBlob: reflect.Slice, KindInteger: reflect.Int32, KindLong: reflect.Int64,
		KindDouble: reflect.Float64, KindBoolean: reflect.Bool,
	}[s.Kind]
	if typ.Kind() != want {
		t.Errorf("shape %s (%s) has Go type %s", s.Name, s.Kind, typ)
		return
	}
	switch s.Kind {
	case KindStructure:
		if typ.NumField() != len(s.Members) {
			t.Errorf("%s has %d fields for %d members", typ, typ.NumField(), len(s.Members))
			return
		}
		for i, m := range s.Members {
			name, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			always := m.Shape.Kind == KindBoolean || m.Required && m.Shape.Kind == KindString
			if name != m.Name || (options == "omitzero") == always {
				t.Errorf("field %d of %s is tagged %q,%q, want member %s", i, typ, name, options, m.Name)
			}
			checkType(t, m.Shape, typ.Field(i).Type)
		}
	case KindList:
		checkType(t, s.Elem, typ.Elem())
	case KindMap:
		checkType(t, s.Key, typ.Key())
		checkType(t, s.Elem, typ.Elem())
	}
}

// TestTablesHoldTheModel compares the tables with model.json, so a generator that drops facts is caught.
func TestTablesHoldTheModel(t *testing.T) {
	var model struct {
		Operations []struct {
			Name   string
			Errors []string
		}
		Shapes map[string]struct {
			Type     string
			Min, Max *int64
			Pattern  string
			Enum     []string
			Members  []struct {
				Name     string
				Required bool
			}
			Exception bool
			Status    int
		}
	}
	data, err := os.ReadFile("model.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &model); err != nil {
		t.Fatal(err)
	}
	if n := len(model.Operations); n != 62 || len(Operations()) != n {
		t.Errorf("%d operations for %d in the model, want 62", len(Operations()), n)
	}
	for _, want := range model.Operations {
		op, ok := LookupOperation(want.Name)
		if !ok || !slices.Equal(op.Errors, want.Errors) {
			t.Errorf("operation %s is missing or has other errors than the model", want.Name)
		}
	}
	patterns := 0
	walkShapes(func(s *Shape) {
		want, ok := model.Shapes[s.Name]
		if !ok || !reflect.DeepEqual(s.Min, want.Min) || !reflect.DeepEqual(s.Max, want.Max) || !slices.Equal(s.Enum, want.Enum) ||
			strings.ToLower(s.Kind.String()) != want.Type || len(s.Members) != len(want.Members) {
			t.Errorf("shape %s differs from the model: %+v", s.Name, want)
			return
		}
		for i, m := range want.Members {
			if s.Members[i].Name != m.Name || s.Members[i].Required != m.Required {
				t.Errorf("member %d of %s is %+v, want %+v", i, s.Name, s.Members[i], m)
			}
		}
		if want.Pattern == "" {
			return
		}
		patterns++
		if s.Pattern == nil || s.Pattern.Text != want.Pattern {
			t.Errorf("shape %s lost its pattern %s", s.Name, want.Pattern)
		}
		if _, err := regexp.Compile("^(?:" + want.Pattern + ")$"); err != nil {
			t.Errorf("pattern of %s: %v", s.Name, err)
		}
	})
	if patterns != len(ecrtest.Strings()) {
		t.Errorf("%d shapes with patterns, %d samples", patterns, len(ecrtest.Strings()))
	}
	for name, s := range model.Shapes {
		if got := NewException(name, "").Status; s.Exception && got != s.Status {
			t.Errorf("%s has status %d, want %d", name, got, s.Status)
		}
	}
}

// walkShapes calls visit once for every shape that an operation leads to.
func walkShapes(visit func(*Shape)) {
	seen := map[*Shape]bool{nil: true}
	var walk func(*Shape)
	walk = func(s *Shape) {
		if seen[s] {
			return
		}
		seen[s] = true
		visit(s)
		for _, m := range s.Members {
			walk(m.Shape)
		}
		walk(s.Key)
		walk(s.Elem)
	}
	for _, op := range Operations() {
		walk(op.Input)
		walk(op.Output)
	}
}

func TestLookup(t *testing.T) {
	for _, op := range Operations() {
		if got, ok := LookupTarget(TargetPrefix + "." + op.Name); !ok || got != op {
			t.Errorf("LookupTarget does not find %s", op.Name)
		}
	}
	for _, target := range []string{"", "CreateRepository", TargetPrefix, TargetPrefix + ".", TargetPrefix + ".createRepository",
		TargetPrefix + ".CreateRepository ", "AmazonEC2ContainerRegistry_V20150922.CreateRepository"} {
		if op, ok := LookupTarget(target); ok {
			t.Errorf("LookupTarget(%q) found %s", target, op.Name)
		}
	}
	list := Operations()
	list[0] = nil
	if Operations()[0] == nil {
		t.Error("Operations hands out the table itself")
	}
}

// TestSamplesDecode decodes a minimal and a full valid body of every input, and of every output, whose shapes are the
// only ones with maps, doubles and timestamps. What was decoded, encoded again, must be what was sent.
func TestSamplesDecode(t *testing.T) {
	for _, op := range Operations() {
		for _, full := range []bool{false, true} {
			body := ecrtest.JSON(t, op.Input, full)
			input, err := op.Decode(body)
			if err != nil {
				t.Errorf("%s refuses %s: %v", op.Name, body, err)
				continue
			}
			if full {
				sameJSON(t, body, input)
			}
		}
		body, output := ecrtest.JSON(t, op.Output, true), op.NewOutput()
		if err := DecodeShape(op.Output, body, output); err != nil {
			t.Errorf("%s refuses its output %s: %v", op.Name, body, err)
			continue
		}
		sameJSON(t, body, output)
	}
}

func sameJSON(t *testing.T, want []byte, v any) {
	t.Helper()
	got, err := Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(want, &a), json.Unmarshal(got, &b)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%T encodes to\n%s\nwant\n%s", v, got, want)
	}
}

// TestEachConstraint violates each constraint of each operation once, alone, and expects an error naming that member.
func TestEachConstraint(t *testing.T) {
	count := 0
	for _, op := range Operations() {
		ecrtest.Violations(t, op.Input, ecrtest.Sample(t, op.Input, true), func(v ecrtest.Violation) {
			count++
			body, err := json.Marshal(v.Value)
			if err != nil {
				t.Fatal(err)
			}
			var ce *ConstraintError
			if _, err := op.Decode(body); !errors.As(err, &ce) {
				t.Errorf("%s, violating %s (%s): got %v", op.Name, v.Member, v.Text, err)
				return
			}
			if ce.Member != v.Member || ce.Constraint != v.Text {
				t.Errorf("%s: got %q at %s, want %q at %s", op.Name, ce.Constraint, ce.Member, v.Text, v.Member)
			}
		})
	}
	if count < 500 {
		t.Errorf("only %d violations tried: the walk over the model is broken", count)
	}
}

// TestEachWrongType gives each member of each input a value of a wrong JSON type, and null, which is absence.
func TestEachWrongType(t *testing.T) {
	for _, op := range Operations() {
		valid := ecrtest.Sample(t, op.Input, true).(map[string]any)
		for _, m := range op.Input.Members {
			for _, wrong := range []string{`"s"`, `1`, `1.5`, `true`, `{}`, `[]`} {
				if rightType(m.Shape.Kind, wrong) {
					continue
				}
				body := []byte(`{"` + m.Name + `":` + wrong + `}`)
				var se *SerializationError
				if _, err := op.Decode(body); !errors.As(err, &se) || se.Member != m.Name {
					t.Errorf("%s, %s: got %v", op.Name, body, err)
				}
			}
			if m.Required {
				continue
			}
			valid[m.Name] = nil
		}
		body, err := json.Marshal(valid)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := op.Decode(body); err != nil {
			t.Errorf("%s refuses null for what is optional: %v", op.Name, err)
		}
	}
}

func rightType(k Kind, literal string) bool {
	switch k {
	case KindString, KindBlob:
		return literal[0] == '"'
	case KindInteger, KindLong:
		return literal == `1`
	case KindDouble, KindTimestamp:
		return literal == `1` || literal == `1.5`
	case KindBoolean:
		return literal == `true`
	case KindList:
		return literal == `[]`
	}
	return literal == `{}`
}
