// Package ecrtest makes valid values of the shapes of the ECR service model, and every way to spoil one, for tests.
package ecrtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"berth/internal/ecr"
)

// Strings are valid values for the shapes with a pattern; a new pattern in the model needs a line here.
func Strings() map[string]string {
	return map[string]string{
		"Base64":                                 "QQ==",
		"CredentialArn":                          "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-pullthroughcache/hub",
		"ImageTagMutabilityExclusionFilterValue": "dev-*",
		"KmsKeyForRepositoryCreationTemplate":    "arn:aws:kms:us-east-1:123456789012:key/1234-abcd",
		"LayerDigest":                            "sha256:" + strings.Repeat("ab", 32),
		"Prefix":                                 "team/app/",
		"PrincipalArn":                           "arn:aws:iam::123456789012:role/ci/builder",
		"PullThroughCacheRuleRepositoryPrefix":   "ROOT",
		"Region":                                 "eu-west-1",
		"RegistryId":                             "123456789012",
		"RepositoryFilterValue":                  "prod",
		"RepositoryName":                         "team/app__x--y",
		"ScanningRepositoryFilterValue":          "prod*",
		"SigningProfileArn":                      "arn:aws:signer:us-east-1:123456789012:/signing-profiles/berth_1",
		"SigningRepositoryFilterValue":           "prod*",
		"UploadId":                               "0a1b2c3d-0000-4000-8000-0123456789ab",
	}
}

// Sample builds a valid value of the shape as a JSON tree. A full one has every member, any other the required ones.
func Sample(t testing.TB, s *ecr.Shape, full bool) any {
	t.Helper()
	switch s.Kind {
	case ecr.KindStructure:
		v := map[string]any{}
		for _, m := range s.Members {
			if full || m.Required {
				v[m.Name] = Sample(t, m.Shape, full)
			}
		}
		return v
	case ecr.KindList:
		return []any{Sample(t, s.Elem, full)}
	case ecr.KindMap:
		return map[string]any{Sample(t, s.Key, full).(string): Sample(t, s.Elem, full)}
	case ecr.KindString:
		return sampleString(t, s)
	case ecr.KindBlob:
		return base64.StdEncoding.EncodeToString([]byte("layer bytes"))
	case ecr.KindInteger, ecr.KindLong:
		if s.Min != nil && *s.Min > 7 {
			return json.Number("8")
		}
		return json.Number("7")
	case ecr.KindDouble:
		return json.Number("7.5")
	case ecr.KindBoolean:
		return true
	case ecr.KindTimestamp:
		return json.Number("1563223656.125")
	}
	t.Fatalf("shape %s has unknown kind %s", s.Name, s.Kind)
	return nil
}

func sampleString(t testing.TB, s *ecr.Shape) string {
	t.Helper()
	switch {
	case s.Enum != nil:
		return s.Enum[0]
	case s.Pattern != nil:
		v, ok := Strings()[s.Name]
		if !ok || !s.Pattern.Match(v) {
			t.Fatalf("no valid sample for %s with pattern %s: got %q", s.Name, s.Pattern.Text, v)
		}
		return v
	case s.Min != nil:
		return strings.Repeat("x", int(*s.Min)+1)
	}
	return "text <&> é"
}

// JSON is [Sample] as a body.
func JSON(t testing.TB, s *ecr.Shape, full bool) []byte {
	t.Helper()
	body, err := json.Marshal(Sample(t, s, full))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// A Violation is a value with exactly one constraint violated, and the error it must give: the path of the member and
// the sentence that ECR has for the constraint.
type Violation struct {
	Value  any
	Member string
	Text   string
}

// The sentences of ECR, as its users quote them for repository names and as the other AWS services form them.
const null = "Member must not be null"

func bound(s *ecr.Shape, what, relation string, limit int64) string {
	text := fmt.Sprintf("must have %s %s than or equal to %d", what, relation, limit)
	if s.Name == "RepositoryName" {
		return text
	}
	return "Member " + text
}

func pattern(s *ecr.Shape) string {
	if s.Name == "RepositoryName" {
		return "must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'"
	}
	return "Member must satisfy regular expression pattern: " + s.Pattern.Text
}

func enum(s *ecr.Shape) string {
	if s.Name == "ImageTagMutability" {
		return "Member must satisfy enum value set: [IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]"
	}
	return "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
}

// Violations calls yield with every way to violate one constraint of the shape, starting from the valid value.
func Violations(t testing.TB, s *ecr.Shape, valid any, yield func(Violation)) {
	t.Helper()
	switch s.Kind {
	case ecr.KindStructure:
		structureViolations(t, s, valid.(map[string]any), yield)
	case ecr.KindList:
		elem := valid.([]any)[0]
		if s.Min != nil && *s.Min > 0 {
			yield(Violation{[]any{}, "", bound(s, "length", "greater", *s.Min)})
		}
		if s.Max != nil {
			many := make([]any, *s.Max+1)
			for i := range many {
				many[i] = elem
			}
			yield(Violation{many, "", bound(s, "length", "less", *s.Max)})
		}
		yield(Violation{[]any{elem, nil}, "2.member", null})
		Violations(t, s.Elem, elem, func(x Violation) {
			yield(Violation{[]any{x.Value}, join("1.member", x.Member), x.Text})
		})
	case ecr.KindString:
		stringViolations(t, s, yield)
	case ecr.KindBlob:
		if s.Max != nil {
			yield(Violation{base64.StdEncoding.EncodeToString(make([]byte, *s.Max+1)), "", bound(s, "length", "less", *s.Max)})
		}
	case ecr.KindInteger, ecr.KindLong:
		if s.Min != nil {
			yield(Violation{*s.Min - 1, "", bound(s, "value", "greater", *s.Min)})
		}
		if s.Max != nil {
			yield(Violation{*s.Max + 1, "", bound(s, "value", "less", *s.Max)})
		}
	}
}

func structureViolations(t testing.TB, s *ecr.Shape, valid map[string]any, yield func(Violation)) {
	t.Helper()
	for _, m := range s.Members {
		with := func(x any) map[string]any {
			c := maps.Clone(valid)
			c[m.Name] = x
			return c
		}
		if m.Required {
			absent := maps.Clone(valid)
			delete(absent, m.Name)
			yield(Violation{absent, m.Name, null})
			yield(Violation{with(nil), m.Name, null})
		}
		Violations(t, m.Shape, valid[m.Name], func(x Violation) {
			yield(Violation{with(x.Value), join(m.Name, x.Member), x.Text})
		})
	}
}

func stringViolations(t testing.TB, s *ecr.Shape, yield func(Violation)) {
	t.Helper()
	if s.Min != nil && *s.Min > 0 {
		yield(Violation{strings.Repeat("a", int(*s.Min)-1), "", bound(s, "length", "greater", *s.Min)})
	}
	if s.Max != nil {
		yield(Violation{strings.Repeat("a", int(*s.Max)+1), "", bound(s, "length", "less", *s.Max)})
	}
	if s.Pattern != nil {
		bad := sampleString(t, s) + "\n"
		if s.Pattern.Match(bad) {
			t.Fatalf("pattern %s of %s matches %q: it must be anchored", s.Pattern.Text, s.Name, bad)
		}
		yield(Violation{bad, "", pattern(s)})
	}
	if s.Enum != nil {
		yield(Violation{strings.ToLower(s.Enum[0]) + "?", "", enum(s)})
	}
}

// join puts a path segment before a path.
func join(head, tail string) string {
	if tail == "" {
		return head
	}
	return head + "." + tail
}
