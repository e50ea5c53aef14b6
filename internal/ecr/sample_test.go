package ecr

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

// sampleStrings are valid values for the shapes with a pattern; a new pattern in the model needs a line here.
func sampleStrings() map[string]string {
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

// sample builds a valid value of the shape as a JSON tree. A full one has every member, any other the required ones.
func sample(t testing.TB, s *Shape, full bool) any {
	t.Helper()
	switch s.Kind {
	case KindStructure:
		v := map[string]any{}
		for _, m := range s.Members {
			if full || m.Required {
				v[m.Name] = sample(t, m.Shape, full)
			}
		}
		return v
	case KindList:
		return []any{sample(t, s.Elem, full)}
	case KindMap:
		return map[string]any{sample(t, s.Key, full).(string): sample(t, s.Elem, full)}
	case KindString:
		return sampleString(t, s)
	case KindBlob:
		return base64.StdEncoding.EncodeToString([]byte("layer bytes"))
	case KindInteger, KindLong:
		if s.Min != nil && *s.Min > 7 {
			return json.Number("8")
		}
		return json.Number("7")
	case KindDouble:
		return json.Number("7.5")
	case KindBoolean:
		return true
	case KindTimestamp:
		return json.Number("1563223656.125")
	}
	t.Fatalf("shape %s has unknown kind %s", s.Name, s.Kind)
	return nil
}

func sampleString(t testing.TB, s *Shape) string {
	t.Helper()
	switch {
	case s.Enum != nil:
		return s.Enum[0]
	case s.Pattern != nil:
		v, ok := sampleStrings()[s.Name]
		if !ok || !s.Pattern.Match(v) {
			t.Fatalf("no valid sample for %s with pattern %s: got %q", s.Name, s.Pattern.Text, v)
		}
		return v
	case s.Min != nil:
		return strings.Repeat("x", int(*s.Min)+1)
	}
	return "text <&> é"
}

func sampleJSON(t testing.TB, s *Shape, full bool) []byte {
	t.Helper()
	body, err := json.Marshal(sample(t, s, full))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// violation is a value with exactly one constraint violated, and the error it must give.
type violation struct {
	value  any
	member string
	text   string
}

// violations calls yield with every way to violate one constraint of the shape, starting from the valid value.
func violations(t testing.TB, s *Shape, valid any, yield func(violation)) {
	t.Helper()
	switch s.Kind {
	case KindStructure:
		v := valid.(map[string]any)
		for _, m := range s.Members {
			with := func(x any) map[string]any {
				c := maps.Clone(v)
				c[m.Name] = x
				return c
			}
			if m.Required {
				absent := maps.Clone(v)
				delete(absent, m.Name)
				yield(violation{absent, m.Name, "Member must not be null"})
				yield(violation{with(nil), m.Name, "Member must not be null"})
			}
			violations(t, m.Shape, v[m.Name], func(x violation) {
				yield(violation{with(x.value), join(m.Name, x.member), x.text})
			})
		}
	case KindList:
		elem := valid.([]any)[0]
		if s.Min != nil && *s.Min > 0 {
			yield(violation{[]any{}, "", "must have length greater than or equal to"})
		}
		if s.Max != nil {
			many := make([]any, *s.Max+1)
			for i := range many {
				many[i] = elem
			}
			yield(violation{many, "", "must have length less than or equal to"})
		}
		yield(violation{[]any{elem, nil}, "2.member", "Member must not be null"})
		violations(t, s.Elem, elem, func(x violation) {
			yield(violation{[]any{x.value}, join("1.member", x.member), x.text})
		})
	case KindString:
		stringViolations(t, s, yield)
	case KindBlob:
		if s.Max != nil {
			yield(violation{base64.StdEncoding.EncodeToString(make([]byte, *s.Max+1)), "", "must have length less than or equal to"})
		}
	case KindInteger, KindLong:
		if s.Min != nil {
			yield(violation{*s.Min - 1, "", "must have value greater than or equal to"})
		}
		if s.Max != nil {
			yield(violation{*s.Max + 1, "", "must have value less than or equal to"})
		}
	}
}

func stringViolations(t testing.TB, s *Shape, yield func(violation)) {
	t.Helper()
	if s.Min != nil && *s.Min > 0 {
		yield(violation{strings.Repeat("a", int(*s.Min)-1), "", "must have length greater than or equal to"})
	}
	if s.Max != nil {
		yield(violation{strings.Repeat("a", int(*s.Max)+1), "", "must have length less than or equal to"})
	}
	if s.Pattern != nil {
		bad := sampleString(t, s) + "\n"
		if s.Pattern.Match(bad) {
			t.Fatalf("pattern %s of %s matches %q: it must be anchored", s.Pattern.Text, s.Name, bad)
		}
		yield(violation{bad, "", "must satisfy regular expression"})
	}
	if s.Enum != nil {
		yield(violation{strings.ToLower(s.Enum[0]) + "?", "", "Member must satisfy enum value set: ["})
	}
}
