package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"
)

func repository(change map[string]cty.Value) cty.Value {
	attrs := map[string]cty.Value{
		"image_tag_mutability": cty.StringVal("MUTABLE"), "scan_on_push": cty.True,
		"max_image_count": cty.NumberIntVal(30), "untagged_days": cty.NumberIntVal(7),
		"repository_policy": cty.NullVal(cty.String), "tags": cty.MapValEmpty(cty.String),
	}
	maps.Copy(attrs, change)
	return cty.ObjectVal(attrs)
}

func inputs(change map[string]cty.Value) map[string]cty.Value {
	in := map[string]cty.Value{
		"repositories":    cty.ObjectVal(map[string]cty.Value{"app": repository(nil)}),
		"encryption_type": cty.StringVal(AES256), "kms_key_arn": cty.NullVal(cty.String), "force_delete": cty.False,
		"common_tags": cty.MapValEmpty(cty.String), "pull_through_cache_rules": cty.EmptyObjectVal,
	}
	maps.Copy(in, change)
	return in
}

func one(change map[string]cty.Value) map[string]cty.Value {
	return inputs(map[string]cty.Value{"repositories": cty.ObjectVal(map[string]cty.Value{"app": repository(change)})})
}

func TestBuild(t *testing.T) {
	m, err := Build("module.ecr", "id", inputs(map[string]cty.Value{
		"repositories": cty.ObjectVal(map[string]cty.Value{"app": repository(map[string]cty.Value{
			"tags":              cty.MapVal(map[string]cty.Value{"Environment": cty.StringVal("own"), "Gone": cty.NullVal(cty.String)}),
			"repository_policy": cty.StringVal("{ \"b\": 1,\n \"a\": \"<>\" }"),
			"scan_on_push":      cty.False,
		})}),
		"common_tags":     cty.MapVal(map[string]cty.Value{"Environment": cty.StringVal("common"), "Gone": cty.StringVal("x"), "Kept": cty.StringVal("y")}),
		"encryption_type": cty.StringVal(KMS), "kms_key_arn": cty.StringVal("arn:k"), "force_delete": cty.True,
		"pull_through_cache_rules": cty.ObjectVal(map[string]cty.Value{"hub": cty.ObjectVal(map[string]cty.Value{
			"upstream_registry_url": cty.StringVal("quay.io"), "credential_arn": cty.NullVal(cty.String),
		})}),
	}), map[string]string{"Default": "d", "Kept": "default"})
	if err != nil {
		t.Fatal(err)
	}
	r := m.Repositories["app"]
	if !maps.Equal(r.Tags, map[string]string{"Environment": "own", "Kept": "y", "Default": "d"}) {
		t.Errorf("tags %v", r.Tags)
	}
	if r.Policy != `{"a":"\u003c\u003e","b":1}` {
		t.Errorf("policy %s", r.Policy)
	}
	if r.EncryptionType != KMS || r.KMSKey != "arn:k" || !r.ForceDelete || !m.ForceDelete || r.ScanOnPush {
		t.Errorf("repository %+v", r)
	}
	if m.CacheRules["hub"] != (CacheRule{Prefix: "hub", UpstreamURL: "quay.io"}) {
		t.Errorf("rule %+v", m.CacheRules["hub"])
	}
}

// The document is the one that jsonencode gives in modules/ecr/lifecycle.tf, to the byte.
func TestLifecycleDocument(t *testing.T) {
	m, err := Build("module.ecr", "id", inputs(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"rules":[{"action":{"type":"expire"},"description":"Expire untagged images after 7 days","rulePriority":1,"selection":{"countNumber":7,"countType":"sinceImagePushed","countUnit":"days","tagStatus":"untagged"}},{"action":{"type":"expire"},"description":"Keep last 30 images","rulePriority":2,"selection":{"countNumber":30,"countType":"imageCountMoreThan","tagStatus":"any"}}]}`
	if got := m.Repositories["app"].Lifecycle; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestBuildMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		in   map[string]cty.Value
		want string
	}{
		"key without KMS":  {inputs(map[string]cty.Value{"kms_key_arn": cty.StringVal("arn:k")}), `repositories["app"]: kms_key_arn has no effect with encryption_type "AES256"`},
		"null":             {inputs(map[string]cty.Value{"repositories": cty.MapVal(map[string]cty.Value{"app": cty.NullVal(repository(nil).Type())})}), `repositories["app"] is null`},
		"fraction":         {one(map[string]cty.Value{"untagged_days": cty.NumberFloatVal(1.5)}), `repositories["app"]: untagged_days must be a whole number`},
		"zero":             {one(map[string]cty.Value{"max_image_count": cty.Zero}), `repositories["app"]: max_image_count must be a whole number, 1 or more`},
		"infinite":         {one(map[string]cty.Value{"max_image_count": cty.PositiveInfinity}), `repositories["app"]: max_image_count must be a whole number, 1 or more`},
		"policy no object": {one(map[string]cty.Value{"repository_policy": cty.StringVal("[]")}), `repositories["app"]: repository_policy is not a JSON object`},
		"policy empty":     {one(map[string]cty.Value{"repository_policy": cty.StringVal("{}")}), `repositories["app"]: repository_policy is not a JSON object: it is empty`},
		"reserved tag":     {one(map[string]cty.Value{"tags": cty.MapVal(map[string]cty.Value{OwnerTag: cty.StringVal("x")})}), `repositories["app"]: the tag "berth:module" is reserved`},
		"another type":     {inputs(map[string]cty.Value{"force_delete": cty.StringVal("x")}), `an input of the module is a string where the native engine expects a bool`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Build("module.ecr", "id", c.in, nil)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("\n got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestConflict(t *testing.T) {
	a := Module{Address: "module.a", Repositories: map[string]Repository{"x": {}}, CacheRules: map[string]CacheRule{"p": {}}}
	b := Module{Address: "module.b", Repositories: map[string]Repository{"y": {}}, CacheRules: map[string]CacheRule{"p": {}}}
	if err := Conflict([]Module{a, b}); err == nil || !strings.Contains(err.Error(), `rule "p" is asked for by module.a and by module.b`) {
		t.Error(err)
	}
	b = Module{Address: "module.b", Repositories: map[string]Repository{"x": {}}}
	if err := Conflict([]Module{a, b}); err == nil || !strings.Contains(err.Error(), `repository "x" is asked for by module.a and by module.b`) {
		t.Error(err)
	}
	if err := Conflict([]Module{a}); err != nil {
		t.Error(err)
	}
}

func TestStackNames(t *testing.T) {
	if got := StackName([]string{"infra", "a:b", "d/e v"}); got != "infra/a=3Ab/d=2Fe v" {
		t.Error(got)
	}
	for name, ok := range map[string]bool{"prod": true, "a/b =x": true, "a:b": false, "tab\t": false, "ä": false} {
		if err := CheckStackName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := StackID(strings.Repeat("x", 256), "ecr", "", false); err == nil {
		t.Error("an id of 260 characters is accepted")
	}
	if got := StackOf("some text"); got != "" {
		t.Errorf("a text that is no id belongs to stack %q", got)
	}
}

// Different instances never share an id, every id is a legal tag value, and an id leads back to its parts.
func TestStackIDProperty(t *testing.T) {
	type parts struct {
		stack, label, key string
		keyed             bool
	}
	text := rapid.StringN(1, 8, 12)
	draw := rapid.Custom(func(t *rapid.T) parts {
		p := parts{
			stack: StackName(rapid.SliceOfN(text, 1, 3).Draw(t, "place")), label: rapid.StringMatching(`[a-z][a-z0-9_-]{0,5}`).Draw(t, "label"),
			keyed: rapid.Bool().Draw(t, "keyed"),
		}
		if p.keyed {
			p.key = text.Draw(t, "key")
		}
		return p
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		idA, errA := StackID(a.stack, a.label, a.key, a.keyed)
		idB, errB := StackID(b.stack, b.label, b.key, b.keyed)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if (a == b) != (idA == idB) {
			t.Fatalf("%+v and %+v: %q, %q", a, b, idA, idB)
		}
		if strings.Trim(idA, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.:/=+-@") != "" {
			t.Fatalf("%q is not a legal tag value", idA)
		}
		if StackOf(idA) != a.stack {
			t.Fatalf("%q belongs to %q, not to %q", idA, StackOf(idA), a.stack)
		}
		want := "module." + a.label
		switch {
		case a.keyed && strings.Trim(a.key, "0123456789") == "":
			want += "[" + a.key + "]"
		case a.keyed:
			want += fmt.Sprintf("[%q]", a.key)
		}
		if got := AddressOf(idA); got != want {
			t.Fatalf("address %s, want %s", got, want)
		}
	})
}

// Normalised JSON means the same.
func FuzzNormalise(f *testing.F) {
	f.Add(`{"a": [1, 2.5, "x"], "b": null}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := normalise(text)
		if err != nil {
			return
		}
		again, err := normalise(got)
		if err != nil || again != got || !json.Valid([]byte(got)) {
			t.Errorf("%q -> %q -> %q, %v", text, got, again, err)
		}
	})
}
