package render

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"berth/internal/module/plan"
)

// The notation is the one in which terraform output prints, taken down from Terraform 1.11.
func TestValue(t *testing.T) {
	for want, v := range map[string]cty.Value{
		`"a\"b\\c\td"`:               cty.StringVal("a\"b\\c\td"),
		`"$${x} %%{y} $z"`:           cty.StringVal("${x} %{y} $z"),
		`1.5`:                        cty.NumberFloatVal(1.5),
		`true`:                       cty.True,
		`null`:                       cty.NullVal(cty.String),
		`(known after apply)`:        cty.UnknownVal(cty.String),
		`{}`:                         cty.EmptyObjectVal,
		`[]`:                         cty.EmptyTupleVal,
		"tomap({\n  \"a\" = 1\n})":   cty.MapVal(map[string]cty.Value{"a": cty.NumberIntVal(1)}),
		"tolist([\n  \"x\",\n])":     cty.ListVal([]cty.Value{cty.StringVal("x")}),
		"toset([\n  \"x\",\n])":      cty.SetVal([]cty.Value{cty.StringVal("x")}),
		"<<EOT\nline 1\nline 2\nEOT": cty.StringVal("line 1\nline 2\n"),
		"{\n  \"a\" = {\n    \"b\" = [\n      1,\n    ]\n  }\n}": cty.ObjectVal(map[string]cty.Value{
			"a": cty.ObjectVal(map[string]cty.Value{"b": cty.TupleVal([]cty.Value{cty.NumberIntVal(1)})}),
		}),
	} {
		if got := Value(v); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestOutputsHideAndOmit(t *testing.T) {
	list := []Output{
		{Name: "a", Value: cty.StringVal("x")}, {Name: "b", Value: cty.NullVal(cty.String)},
		{Name: "c", Value: cty.StringVal("secret"), Sensitive: true},
	}
	var b bytes.Buffer
	if err := Outputs(&b, list); err != nil || b.String() != "a = \"x\"\nc = <sensitive>\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	j, err := OutputsJSON(list)
	if want := `{"a":{"sensitive":false,"type":"string","value":"x"},"c":{"sensitive":true,"type":"string","value":"secret"}}`; err != nil || string(j) != want {
		t.Errorf("%s, %v", j, err)
	}
}

func TestOutputChanges(t *testing.T) {
	text := func(s string) cty.Value { return cty.StringVal(s) }
	b, err := PlanJSON(&plan.Plan{}, []Output{
		{Name: "same", Value: text("x")}, {Name: "gone", Value: text("x")}, {Name: "changed", Value: text("x")},
	}, []Output{
		{Name: "same", Value: text("x")}, {Name: "changed", Value: cty.ObjectVal(map[string]cty.Value{"k": text("v"), "u": cty.UnknownVal(cty.String)})},
		{Name: "new", Value: cty.TupleVal([]cty.Value{cty.UnknownVal(cty.String), text("v")})}, {Name: "absent", Value: cty.NullVal(cty.String)},
	})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OutputChanges map[string]struct {
			Actions      []string        `json:"actions"`
			Before       json.RawMessage `json:"before"`
			After        json.RawMessage `json:"after"`
			AfterUnknown json.RawMessage `json:"after_unknown"`
		} `json:"output_changes"`
		Applyable bool `json:"applyable"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"same": `no-op "x" "x" false`, "gone": `delete "x" null false`, "changed": `update "x" {"k":"v"} {"u":true}`,
		"new": `create null [null,"v"] [true,false]`, "absent": `no-op null null false`,
	} {
		c := doc.OutputChanges[name]
		if got := strings.Join(c.Actions, "+") + " " + string(c.Before) + " " + string(c.After) + " " + string(c.AfterUnknown); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if len(doc.OutputChanges) != 5 || doc.Applyable {
		t.Errorf("%s", b)
	}
}

// A value in another kind than before is printed whole, and a policy that is not JSON as a text.
func TestOddChanges(t *testing.T) {
	p := &plan.Plan{Repositories: []plan.Repository{{Policy: plan.Change{
		Module: "module.ecr", Type: plan.TypePolicy, Index: "app", Action: plan.Update,
		Before: map[string]any{"policy": "not JSON", "x": []any{"a"}}, After: map[string]any{"policy": `{"a":{"b":1}}`, "x": []any{}},
	}}, {Policy: plan.Change{
		Module: "module.ecr", Type: plan.TypePolicy, Index: "bad", Action: plan.Update,
		Before: map[string]any{"policy": `{"a":[1,2]}`}, After: map[string]any{"policy": `{"a":"x\u001b[2J"}`},
	}}}}
	var b bytes.Buffer
	if err := Text(&b, p, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`~ policy = "not JSON" -> jsonencode({"a":{"b":1}})`, `~ a = [1,2] -> "x\u001b[2J"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is not in\n%s", want, b.String())
		}
	}
}

// What is quoted reads back as the same text, and holds no control character that a terminal would obey.
func FuzzQuote(f *testing.F) {
	f.Add("a\"b\\c${d}%{e}$$ \n\x1b[31m")
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		quoted := quote(s)
		if strings.ContainsFunc(quoted, unicode.IsControl) {
			t.Fatalf("control character in %q", quoted)
		}
		expr, diags := hclsyntax.ParseExpression([]byte(quoted), "q", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatalf("%s: %v", quoted, diags)
		}
		v, diags := expr.Value(nil)
		if diags.HasErrors() || v.AsString() != cty.StringVal(s).AsString() {
			t.Errorf("%q -> %s -> %q", s, quoted, v.AsString())
		}
	})
}
