package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const prefix = "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: "

// rule writes one rule; pad brings short documents to the minimum length.
func rule(priority int, selection, action string) string {
	return fmt.Sprintf(`{"rulePriority":%d,"selection":{%s},"action":{%s}}`, priority, selection, action)
}

func rules(list ...string) string {
	return pad(`{"rules":[` + strings.Join(list, ",") + `]}`)
}

func pad(s string) string { return s + strings.Repeat(" ", max(0, MinTextLength-len(s))) }

const (
	expire     = `"type":"expire"`
	transition = `"type":"transition","targetStorageClass":"archive"`
	untagged7  = `"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":7`
	any30      = `"tagStatus":"any","countType":"imageCountMoreThan","countNumber":30`
	archived   = `"storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90`
)

func tagged(list string) string {
	return `"tagStatus":"tagged",` + list + `,"countType":"imageCountMoreThan","countNumber":1`
}

func TestAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"the module's two rules": rules(rule(1, untagged7, expire), rule(2, any30, expire)),
		"any listed first":       rules(rule(2, any30, expire), rule(1, untagged7, expire)),
		"gaps in priorities":     rules(rule(10, untagged7, expire), rule(2000000000, any30, expire)),
		"one prefix":             rules(rule(1, tagged(`"tagPrefixList":["prod"]`), expire)),
		"four wildcards":         rules(rule(1, tagged(`"tagPatternList":["*test*1*2*3"]`), expire)),
		"prefix and pattern":     rules(rule(1, tagged(`"tagPrefixList":["a"]`), expire), rule(2, tagged(`"tagPatternList":["a"]`), expire)),
		"transition by age":      rules(rule(1, untagged7, transition)),
		"transition by count":    rules(rule(1, any30, transition)),
		"transition by pull":     rules(rule(1, `"tagStatus":"any","countType":"sinceImagePulled","countUnit":"days","countNumber":1`, transition)),
		"standard spelled out":   rules(rule(1, any30+`,"storageClass":"standard"`, expire)),
		"archive":                rules(rule(1, `"tagStatus":"any",`+archived, expire)),
		"one of each per class": rules(rule(1, untagged7, expire), rule(2, any30, expire),
			rule(3, `"tagStatus":"untagged",`+archived, expire), rule(4, `"tagStatus":"any",`+archived, expire)),
		"same prefix in two classes": rules(rule(1, tagged(`"tagPrefixList":["a"]`), expire),
			rule(2, `"tagStatus":"tagged","tagPrefixList":["a"],`+archived, expire)),
		"description": pad(`{"rules":[{"rulePriority":1,"description":"Xóa ảnh cũ","selection":{` + any30 + `},"action":{` + expire + `}}]}`),
		"fifty rules": func() string {
			var list []string
			for i := range MaxRules {
				list = append(list, rule(i+1, tagged(fmt.Sprintf(`"tagPrefixList":["p%d"]`, i)), expire))
			}
			return rules(list...)
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			checkStable(t, p)
		})
	}
}

// Any refusal of the fourteen rules, with ECR's text.
func TestRefused(t *testing.T) {
	const four = "instance failed to match exactly one schema (matched 0 out of 4)\n"
	const two = "instance failed to match exactly one schema (matched 0 out of 2)\n"
	sel := func(s string) string { return rules(rule(1, s, expire)) }
	act := func(a string) string { return rules(rule(1, any30, a)) }
	for _, tc := range []struct{ name, text, body, path string }{
		{"not JSON", pad("nonsense"), "Could not map policyString into LifecyclePolicy.", ""},
		{"array", pad("[]"), "Could not map policyString into LifecyclePolicy.", ""},
		{"null", pad("null"), "Could not map policyString into LifecyclePolicy.", ""},
		{"two documents", act(expire) + "{}", "Could not map policyString into LifecyclePolicy.", ""},
		{"empty object", pad("{}"), `object has missing required properties (["rules"])` + "\n", ""},
		{"rules misspelled", pad(`{"Rules":[]}`), `object has missing required properties (["rules"])` + "\n", ""},
		{"extra member", pad(`{"rules":[],"version":1}`), `object instance has properties which are not allowed by the schema: (["version"])` + "\n", ""},
		{"rules is a string", pad(`{"rules":"x"}`), `instance type (string) does not match any allowed primitive type (allowed: ["array"])` + "\n", "rules"},
		{"no rule", pad(`{"rules":[]}`), "array is too short: must have at least 1 elements but instance has 0 elements\n", "rules"},
		{"fifty-one rules", rules(strings.Split(strings.Repeat("1 ", 51), " ")[:51]...), "array is too long: must have at most 50 elements but instance has 51 elements\n", "rules"},
		{"a rule is a string", rules(`"x"`), `instance type (string) does not match any allowed primitive type (allowed: ["object"])` + "\n", "rules[0]"},
		{"an empty rule", rules(`{}`), `object has missing required properties (["action","rulePriority","selection"])` + "\n", "rules[0]"},
		{"unknown property", rules(`{"rulePriority":1,"selection":{},"action":{},"x":1,"<b>":2}`),
			`object instance has properties which are not allowed by the schema: (["<b>","x"])` + "\n", "rules[0]"},
		{"priority 0", rules(rule(0, any30, expire)), "numeric instance is lower than the required minimum (minimum: 1, found: 0)\n", "rules[0].rulePriority"},
		{"priority huge", rules(strings.Replace(rule(1, any30, expire), ":1,", ":99999999999999999999,", 1)), "Could not map policyString into LifecyclePolicy.", "rules[0].rulePriority"},
		{"priority very negative", rules(strings.Replace(rule(1, any30, expire), ":1,", ":-99999999999999999999,", 1)),
			"numeric instance is lower than the required minimum (minimum: 1, found: -99999999999999999999)\n", "rules[0].rulePriority"},
		{"priority text", rules(strings.Replace(rule(1, any30, expire), ":1,", `:"1",`, 1)),
			`instance type (string) does not match any allowed primitive type (allowed: ["integer"])` + "\n", "rules[0].rulePriority"},
		{"priority fraction", rules(strings.Replace(rule(1, any30, expire), ":1,", `:1.5,`, 1)),
			`instance type (number) does not match any allowed primitive type (allowed: ["integer"])` + "\n", "rules[0].rulePriority"},
		{"description null", rules(`{"rulePriority":1,"description":null,"selection":{` + any30 + `},"action":{` + expire + `}}`),
			`instance type (null) does not match any allowed primitive type (allowed: ["string"])` + "\n", "rules[0].description"},

		{"empty action", act(``), `object has missing required properties (["type"])` + "\n", "rules[0].action"},
		{"action type", act(`"type":"delete"`), `instance value ("delete") not found in enum (possible values: ["expire","transition"])` + "\n", "rules[0].action.type"},
		{"upper-case action", act(`"type":"EXPIRE"`), `instance value ("EXPIRE") not found in enum (possible values: ["expire","transition"])` + "\n", "rules[0].action.type"},
		{"expire with a target", act(expire + `,"targetStorageClass":"archive"`), two, "rules[0].action"},
		{"target null", act(expire + `,"targetStorageClass":null`), two, "rules[0].action"},
		{"transition without a target", act(`"type":"transition"`), two, "rules[0].action"},
		{"transition to standard", act(`"type":"transition","targetStorageClass":"standard"`),
			`instance value ("standard") not found in enum (possible values: ["archive"])` + "\n", "rules[0].action.targetStorageClass"},

		{"empty selection", sel(``), `object has missing required properties (["countNumber","countType","tagStatus"])` + "\n", "rules[0].selection"},
		{"selection unknown", sel(any30 + `,"x":1`), `object instance has properties which are not allowed by the schema: (["x"])` + "\n", "rules[0].selection"},
		{"tag status", sel(strings.Replace(any30, "any", "all", 1)), `instance value ("all") not found in enum (possible values: ["any","tagged","untagged"])` + "\n", "rules[0].selection.tagStatus"},
		{"count type", sel(strings.Replace(any30, "imageCountMoreThan", "x", 1)),
			`instance value ("x") not found in enum (possible values: ["imageCountMoreThan","sinceImagePulled","sinceImagePushed","sinceImageTransitioned"])` + "\n", "rules[0].selection.countType"},
		{"count 0", sel(strings.Replace(any30, ":30", ":0", 1)), "numeric instance is lower than the required minimum (minimum: 1, found: 0)\n", "rules[0].selection.countNumber"},
		{"count -1", sel(strings.Replace(any30, ":30", ":-1", 1)), "numeric instance is lower than the required minimum (minimum: 1, found: -1)\n", "rules[0].selection.countNumber"},
		{"count unit missing", sel(strings.Replace(untagged7, `"countUnit":"days",`, "", 1)), four, "rules[0].selection"},
		{"count unit forbidden", sel(any30 + `,"countUnit":"days"`), four, "rules[0].selection"},
		{"count unit null", sel(any30 + `,"countUnit":null`), four, "rules[0].selection"},
		{"count unit hours", sel(strings.Replace(untagged7, "days", "hours", 1)), `instance value ("hours") not found in enum (possible values: ["days"])` + "\n", "rules[0].selection.countUnit"},
		{"storage class", sel(any30 + `,"storageClass":"ARCHIVE"`), `instance value ("ARCHIVE") not found in enum (possible values: ["archive","standard"])` + "\n", "rules[0].selection.storageClass"},
		{"archive by count", sel(any30 + `,"storageClass":"archive"`), four, "rules[0].selection"},
		{"transitioned without archive", sel(`"tagStatus":"any","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90`), four, "rules[0].selection"},
		{"89 archived days", sel(`"tagStatus":"any",` + strings.Replace(archived, "90", "89", 1)),
			"numeric instance is lower than the required minimum (minimum: 90, found: 89)\n", "rules[0].selection.countNumber"},

		{"tagged without lists", sel(`"tagStatus":"tagged","countType":"imageCountMoreThan","countNumber":1`),
			"Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED.", "rules[0].selection"},
		{"tagged with an empty list", sel(tagged(`"tagPrefixList":[]`)), "Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED.", "rules[0].selection"},
		{"tagged with both lists", sel(tagged(`"tagPrefixList":["a"],"tagPatternList":["b"]`)),
			"Must specify only one of tagPrefixList or tagPatternList when tagStatus=TAGGED.", "rules[0].selection"},
		{"untagged with a list", sel(untagged7 + `,"tagPrefixList":["a"]`), "tagPrefixList and tagPatternList can only be specified when tagStatus=TAGGED.", "rules[0].selection"},
		{"any with an empty list", sel(any30 + `,"tagPatternList":[]`), "tagPrefixList and tagPatternList can only be specified when tagStatus=TAGGED.", "rules[0].selection"},
		{"list null", sel(any30 + `,"tagPrefixList":null`), four, "rules[0].selection"},
		{"list a string", sel(tagged(`"tagPrefixList":"a"`)), `instance type (string) does not match any allowed primitive type (allowed: ["array"])` + "\n", "rules[0].selection.tagPrefixList"},
		{"element a number", sel(tagged(`"tagPrefixList":["a",1]`)), `instance type (integer) does not match any allowed primitive type (allowed: ["string"])` + "\n", "rules[0].selection.tagPrefixList[1]"},
		{"empty prefix", sel(tagged(`"tagPrefixList":[""]`)), `string "" is too short (length: 0, required minimum: 1)` + "\n", "rules[0].selection.tagPrefixList[0]"},
		{"long prefix", sel(tagged(`"tagPrefixList":["` + strings.Repeat("a", 129) + `"]`)),
			`string "` + strings.Repeat("a", 129) + `" is too long (length: 129, maximum allowed: 128)` + "\n", "rules[0].selection.tagPrefixList[0]"},
		{"prefix characters", sel(tagged(`"tagPrefixList":["a b"]`)), `ECMA 262 regex "^[0-9a-zA-Z._*-]+$" does not match input string "a b"` + "\n", "rules[0].selection.tagPrefixList[0]"},
		{"six wildcards", sel(tagged(`"tagPatternList":["test*1*2*3*4*5*6"]`)), "A pattern in tagPatternList can contain at most 4 wildcards (*)", "rules[0].selection.tagPatternList[0]"},

		{"pulled with expire", sel(`"tagStatus":"any","countType":"sinceImagePulled","countUnit":"days","countNumber":9`),
			"Rules with countType=sinceImagePulled only support the transition action", "rules[0]"},
		{"transitioned with transition", rules(rule(1, `"tagStatus":"any",`+archived, transition)),
			"Rules with countType=sinceImageTransitioned only support the expire action", "rules[0]"},

		{"same priority", rules(rule(1, untagged7, expire), rule(1, any30, expire)),
			"Rule priorities must be unique, but rulePriority 1 is used by more than one rule (rules 1 and 2)", "rules[1].rulePriority"},
		{"any not last", rules(rule(1, any30, expire), rule(2, untagged7, expire)),
			"Rule for tagStatus=ANY must have the lowest priority per storage class", "rules[0].rulePriority"},
		{"any twice", rules(rule(1, any30, expire), rule(2, any30, transition)),
			"Rule for tagStatus=ANY must have the lowest priority per storage class", "rules[0].rulePriority"},
		{"untagged twice", rules(rule(1, untagged7, expire), rule(2, untagged7, transition)),
			"Only one rule can select Untagged images per storage class", "rules[1]"},
		{"same prefixes in another order", rules(rule(1, tagged(`"tagPrefixList":["a","b"]`), expire), rule(2, tagged(`"tagPrefixList":["b","a"]`), expire)),
			"The tagPrefixList or tagPatternList of each rule must be unique per storage class", "rules[1]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse(tc.text)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("accepted, or another error: %v", err)
			}
			if want := prefix + tc.body + "'"; err.Error() != want {
				t.Errorf("got  %q\nwant %q", err, want)
			}
			if e.Path != tc.path {
				t.Errorf("path %q, want %q", e.Path, tc.path)
			}
			if r := e.Reason(); r == "" || strings.Contains(r, "\n") || (tc.path != "" && !strings.HasPrefix(r, tc.path+": ")) {
				t.Errorf("reason %q", r)
			}
		})
	}
}

func TestLength(t *testing.T) {
	good := rules(rule(1, any30, expire))
	for text, want := range map[string]string{
		"":                      "must have length greater than or equal to 100",
		strings.Repeat("é", 99): "must have length greater than or equal to 100",
		good + strings.Repeat(" ", MaxTextLength): "must have length less than or equal to 30720",
	} {
		_, err := Parse(text)
		if want = "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: '" + want + "'"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// Characters are counted, not bytes.
	long := `{"rules":[{"rulePriority":1,"description":"` + strings.Repeat("đ", MaxTextLength-200) + `","selection":{` + any30 + `},"action":{` + expire + `}}]}`
	if _, err := Parse(long); err != nil {
		t.Error(err)
	}
}

// The document is normalised for the evaluator.
func TestNormalised(t *testing.T) {
	p, err := Parse(rules(rule(20, any30, expire), rule(3, untagged7, transition)))
	if err != nil {
		t.Fatal(err)
	}
	want := &Policy{Rules: []Rule{
		{Priority: 3, Selection: Selection{TagStatus: Untagged, StorageClass: Standard, CountType: SinceImagePushed, CountUnit: Days, CountNumber: 7},
			Action: Action{Type: Transition, TargetStorageClass: Archive}},
		{Priority: 20, Selection: Selection{TagStatus: Any, StorageClass: Standard, CountType: ImageCountMoreThan, CountNumber: 30}, Action: Action{Type: Expire}},
	}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
}

// checkStable marshals an accepted policy and parses it again.
func checkStable(t interface{ Fatalf(string, ...any) }, p *Policy) {
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	again, perr := parse(string(text)) // without the limit on length
	if perr != nil {
		t.Fatalf("accepted, but not what it marshals to: %v\n%s", perr, text)
	}
	if !reflect.DeepEqual(p, again) {
		t.Fatalf("got  %+v\nwant %+v", again, p)
	}
}

// Random documents built from the grammar's own words: whatever is accepted
// keeps every promise of the types, and is stable.
func TestPromises(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		word := func(name string, values ...string) string { return rapid.SampledFrom(values).Draw(t, name) }
		var list []string
		for i := range rapid.IntRange(1, 4).Draw(t, "rules") {
			if word("kind", "good", "any", "any") == "good" { // or hardly any document would be accepted
				list = append(list, rule(i+1, untagged7, expire))
				continue
			}
			selection := `"tagStatus":` + word("status", `"tagged"`, `"untagged"`, `"any"`) +
				word("tags", "", "", `,"tagPrefixList":["a"]`, `,"tagPatternList":["a*","b"]`, `,"tagPrefixList":[]`) +
				word("class", "", "", `,"storageClass":"standard"`, `,"storageClass":"archive"`) +
				`,"countType":` + word("type", `"imageCountMoreThan"`, `"sinceImagePushed"`, `"sinceImagePulled"`, `"sinceImageTransitioned"`) +
				word("unit", "", `,"countUnit":"days"`) +
				`,"countNumber":` + word("number", "1", "90", "365", "0")
			list = append(list, rule(rapid.IntRange(i+1, i+2).Draw(t, "priority"), selection, word("action", expire, transition)))
		}
		p, err := Parse(rules(list...))
		if err != nil {
			if !strings.HasPrefix(err.Error(), prefix) {
				t.Fatalf("text %q", err)
			}
			return
		}
		accepted++
		checkPromises(t, p)
		checkStable(t, p)
	})
	if accepted == 0 {
		t.Error("nothing was accepted; the property proves nothing")
	}
}

func checkPromises(t interface{ Fatalf(string, ...any) }, p *Policy) {
	for i, r := range p.Rules {
		s := r.Selection
		lists := 0
		for _, l := range [][]string{s.TagPatterns, s.TagPrefixes} {
			if len(l) > 0 {
				lists++
			}
		}
		switch {
		case i > 0 && p.Rules[i-1].Priority >= r.Priority, r.Priority < 1,
			(s.TagStatus == Tagged) != (lists == 1), s.TagStatus != Tagged && lists > 0,
			s.CountType.ByAge() != (s.CountUnit == Days),
			(s.CountType == SinceImageTransitioned) != (s.StorageClass == Archive),
			s.StorageClass == Archive && (s.CountNumber < MinArchivedDays || r.Action.Type != Expire),
			s.CountType == SinceImagePulled && r.Action.Type != Transition,
			(r.Action.Type == Transition) != (r.Action.TargetStorageClass == Archive),
			s.CountNumber < 1:
			t.Fatalf("rule %d breaks a promise: %+v", i, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", pad("{}"), rules(rule(1, untagged7, expire), rule(2, any30, expire)),
		rules(rule(1, `"tagStatus":"any",`+archived, expire)), rules(rule(1, tagged(`"tagPatternList":["a*b"]`), transition)), pad("[[[[[[")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason() == "" || len(err.Error()) > 16<<10 {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		checkPromises(t, p)
		checkStable(t, p)
	})
}
