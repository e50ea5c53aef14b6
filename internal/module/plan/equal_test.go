package plan

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestSamePolicy(t *testing.T) {
	base := `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":["ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"]}]}`
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"itself":                     {base, base, true},
		"account id":                 {base, `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}`, true},
		"statement object":           {base, `{"Statement":{"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Principal":{"AWS":["123456789012"]},"Effect":"Allow","Sid":"a"},"Version":"2012-10-17"}`, true},
		"case of an action":          {`{"Statement":[{"Action":"ecr:*"}]}`, `{"Statement":[{"Action":["ECR:*"]}]}`, true},
		"everybody":                  {`{"Statement":[{"Principal":"*"}]}`, `{"Statement":[{"Principal":{"AWS":"*"}}]}`, true},
		"default version":            {`{"Statement":[]}`, `{"Version":"2008-10-17","Statement":[]}`, true},
		"order of statements":        {`{"Statement":[{"Sid":"a"},{"Sid":"b"}]}`, `{"Statement":[{"Sid":"b"},{"Sid":"a"}]}`, true},
		"condition value":            {`{"Statement":[{"Condition":{"Bool":{"aws:SecureTransport":true}}}]}`, `{"Statement":[{"Condition":{"Bool":{"aws:SecureTransport":["true"]}}}]}`, true},
		"another account":            {base, `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}`, false},
		"a user is not the account":  {`{"Statement":[{"Principal":{"AWS":"123456789012"}}]}`, `{"Statement":[{"Principal":{"AWS":"arn:aws:iam::123456789012:user/x"}}]}`, false},
		"another effect":             {`{"Statement":[{"Effect":"Allow"}]}`, `{"Statement":[{"Effect":"Deny"}]}`, false},
		"an action more":             {`{"Statement":[{"Action":"ecr:*"}]}`, `{"Statement":[{"Action":["ecr:*","ecr:PutImage"]}]}`, false},
		"a statement twice":          {`{"Statement":[{"Sid":"a"}]}`, `{"Statement":[{"Sid":"a"},{"Sid":"b"}]}`, false},
		"another condition":          {`{"Statement":[{"Condition":{"StringEquals":{"a":"1"}}}]}`, `{"Statement":[{"Condition":{"StringLike":{"a":"1"}}}]}`, false},
		"service is not an account":  {`{"Statement":[{"Principal":{"Service":"123456789012"}}]}`, `{"Statement":[{"Principal":{"AWS":"123456789012"}}]}`, false},
		"action is not its negation": {`{"Statement":[{"Action":"ecr:*"}]}`, `{"Statement":[{"NotAction":"ecr:*"}]}`, false},
		"no JSON, equal":             {"x", "x", true},
		"no JSON, different":         {"x", "y", false},
		"null":                       {"null", "null", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := SamePolicy(c.a, c.b); got != c.same {
				t.Errorf("SamePolicy = %v\n%s\n%s", got, c.a, c.b)
			}
			if got := SamePolicy(c.b, c.a); got != c.same {
				t.Error("not symmetric")
			}
		})
	}
}

func TestSameLifecycle(t *testing.T) {
	a := `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPrefixList":["a","b"],"countType":"imageCountMoreThan","countNumber":3},"action":{"type":"expire"}},{"rulePriority":2,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":30},"action":{"type":"expire"}}]}`
	for name, c := range map[string]struct {
		b    string
		same bool
	}{
		"order":         {`{"rules":[{"action":{"type":"expire"},"selection":{"countNumber":30,"tagStatus":"any","countType":"imageCountMoreThan"},"rulePriority":2},{"rulePriority":1,"selection":{"tagPrefixList":["b","a"],"tagStatus":"tagged","countType":"imageCountMoreThan","countNumber":3},"action":{"type":"expire"}}]}`, true},
		"a number":      {`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPrefixList":["a","b"],"countType":"imageCountMoreThan","countNumber":4},"action":{"type":"expire"}},{"rulePriority":2,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":30},"action":{"type":"expire"}}]}`, false},
		"unknown field": {`{"rules":[{"rulePriority":1,"future":true,"selection":{"tagStatus":"tagged","tagPrefixList":["a","b"],"countType":"imageCountMoreThan","countNumber":3},"action":{"type":"expire"}},{"rulePriority":2,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":30},"action":{"type":"expire"}}]}`, false},
		"nothing":       {``, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sameLifecycle(a, c.b); got != c.same {
				t.Errorf("sameLifecycle = %v", got)
			}
		})
	}
}

// statement draws a statement whose lists have no duplicates.
func statement(t *rapid.T) map[string]any {
	list := func(from []string, label string) []any {
		var out []any
		for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, len(from), rapid.ID[string]).Draw(t, label) {
			out = append(out, s)
		}
		return out
	}
	return map[string]any{
		"Sid":       rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sid"),
		"Effect":    rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, "effect"),
		"Principal": map[string]any{"AWS": list([]string{"123456789012", "210987654321", "arn:aws:iam::123456789012:role/r"}, "principals")},
		"Action":    list([]string{"ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "ecr:PutImage"}, "actions"),
	}
}

// Shuffling a policy, writing account ids as ARNs and single values without a list never makes a difference; changing
// an effect always does.
func TestSamePolicyProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var original, shuffled []any
		for range rapid.IntRange(1, 4).Draw(t, "n") {
			original = append(original, statement(t))
		}
		for _, i := range rapid.Permutation(indexes(len(original))).Draw(t, "order") {
			s := original[i].(map[string]any)
			actions := rapid.Permutation(s["Action"].([]any)).Draw(t, "actions")
			principals := rapid.Permutation(s["Principal"].(map[string]any)["AWS"].([]any)).Draw(t, "principals")
			for j, p := range principals {
				if p == "123456789012" && rapid.Bool().Draw(t, "arn") {
					principals[j] = "arn:aws:iam::123456789012:root"
				}
			}
			copied := map[string]any{"Sid": s["Sid"], "Effect": s["Effect"], "Action": actions, "Principal": map[string]any{"AWS": principals}}
			if len(actions) == 1 {
				copied["Action"] = actions[0]
			}
			shuffled = append(shuffled, copied)
		}
		a, b := document(t, original), document(t, shuffled)
		if !SamePolicy(a, b) {
			t.Fatalf("differ:\n%s\n%s", a, b)
		}
		first := shuffled[0].(map[string]any)
		first["Effect"] = map[any]string{"Allow": "Deny", "Deny": "Allow"}[first["Effect"]]
		// With a change of one statement the multiset of statements changes, unless another one changed back.
		if len(original) == 1 && SamePolicy(a, document(t, shuffled)) {
			t.Fatal("a changed effect was not seen")
		}
	})
}

func indexes(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func document(t *rapid.T, statements []any) string {
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Comparing never panics, is reflexive and symmetric, whatever a registry returns.
func FuzzSamePolicy(f *testing.F) {
	f.Add(`{"Statement":[{"Principal":"*"}]}`, `{"Statement":{"Principal":{"AWS":["*"]}}}`)
	f.Add(`{"Statement":[1,null,"x",[{}]]}`, `{"rules":[1,null,{"selection":[]}]}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		for name, same := range map[string]func(a, b string) bool{"policy": SamePolicy, "lifecycle": sameLifecycle} {
			if !same(a, a) || !same(b, b) {
				t.Errorf("%s: not reflexive", name)
			}
			if same(a, b) != same(b, a) {
				t.Errorf("%s: not symmetric", name)
			}
		}
	})
}
