package kmsapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"berth/internal/access"
	"berth/internal/kms/local"
)

func TestRefusals(t *testing.T) {
	f := start(t)
	arn, id := f.newKey(t)
	none := "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-000000000000"
	for _, tc := range []struct{ operation, body, code, message string }{
		{"DescribeKey", `{}`, "ValidationException", "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"DescribeKey", ``, "ValidationException", ""},
		{"DescribeKey", `null`, "ValidationException", ""},
		{"DescribeKey", `{"KeyId":null}`, "ValidationException", ""},
		{"DescribeKey", `{"keyid":"x"}`, "ValidationException", ""},
		{"DescribeKey", `{"KeyId":""}`, "ValidationException", "1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"DescribeKey", `{"KeyId":7}`, "SerializationException", ""},
		{"DescribeKey", `[]`, "SerializationException", ""},
		{"DescribeKey", `{`, "SerializationException", ""},
		{"DescribeKey", "{\"KeyId\":\"\xff\"}", "SerializationException", ""},
		{"DescribeKey", `{"KeyId":"` + none + `"}`, "NotFoundException", "Key '" + none + "' does not exist"},
		{"DescribeKey", `{"KeyId":"alias/none"}`, "NotFoundException", "Alias arn:aws:kms:us-east-1:000000000000:alias/none is not found."},
		{"DescribeKey", `{"KeyId":"a b"}`, "NotFoundException", "Invalid keyId 'a b'"},
		{"DescribeKey", `{"KeyId":"arn:aws:s3:::b"}`, "InvalidArnException", ""},
		{"DescribeKey", `{"KeyId":"arn:aws:kms:eu-west-1:000000000000:key/x"}`, "NotFoundException", "Invalid arn eu-west-1"},
		{"CreateKey", `{"KeySpec":"RSA_2048","KeyUsage":"SIGN_VERIFY"}`, "UnsupportedOperationException", ""},
		{"CreateKey", `{"KeySpec":"DES"}`, "ValidationException", ""},
		{"CreateKey", `{"KeyUsage":"SIGN_VERIFY"}`, "ValidationException", ""},
		{"CreateKey", `{"KeySpec":"SYMMETRIC_DEFAULT","CustomerMasterKeySpec":"RSA_2048"}`, "ValidationException", ""},
		{"CreateKey", `{"MultiRegion":true}`, "UnsupportedOperationException", ""},
		{"CreateKey", `{"Origin":"EXTERNAL"}`, "UnsupportedOperationException", ""},
		{"CreateKey", `{"CustomKeyStoreId":"x"}`, "UnsupportedOperationException", ""},
		{"CreateKey", `{"Description":"` + strings.Repeat("x", 8193) + `"}`, "ValidationException", ""},
		{"CreateKey", `{"Description":"a\u0000b"}`, "ValidationException", ""},
		{"CreateKey", `{"Tags":[{"TagKey":"a"}]}`, "ValidationException", "1 validation error detected: Value null at 'tags.1.member.tagValue' failed to satisfy constraint: Member must not be null"},
		{"CreateKey", `{"Tags":[{"TagKey":"a","TagValue":""},{"TagKey":"a","TagValue":""}]}`, "TagException", ""},
		{"CreateKey", `{"Tags":[{"TagKey":"aws:x","TagValue":""}]}`, "TagException", ""},
		{"CreateKey", `{"Tags":[` + strings.TrimSuffix(tagList(51), ",") + `]}`, "LimitExceededException", ""},
		{"CreateKey", `{"Policy":"` + strings.Repeat("x", 32769) + `"}`, "LimitExceededException", ""},
		{"ScheduleKeyDeletion", `{"KeyId":"` + id + `","PendingWindowInDays":6}`, "ValidationException", ""},
		{"ScheduleKeyDeletion", `{"KeyId":"` + id + `","PendingWindowInDays":31}`, "ValidationException", ""},
		{"ScheduleKeyDeletion", `{"KeyId":"` + id + `","PendingWindowInDays":"7"}`, "SerializationException", ""},
		{"EnableKeyRotation", `{"KeyId":"` + id + `","RotationPeriodInDays":89}`, "ValidationException", ""},
		{"CreateAlias", `{"AliasName":"x","TargetKeyId":"` + id + `"}`, "ValidationException", "Invalid identifier"},
		{"CreateAlias", `{"AliasName":"alias/a b","TargetKeyId":"` + id + `"}`, "ValidationException", ""},
		{"CreateAlias", `{"AliasName":"alias/aws/x","TargetKeyId":"` + id + `"}`, "NotAuthorizedException", ""},
		{"CreateAlias", `{"AliasName":"alias/a","TargetKeyId":"alias/b"}`, "ValidationException", "Aliases must refer to keys. Not aliases"},
		{"CreateAlias", `{"AliasName":"alias/a:b","TargetKeyId":"` + id + `"}`, "InvalidAliasNameException", "alias/a:b contains invalid characters for an alias"},
		{"UpdateAlias", `{"AliasName":"alias/a","TargetKeyId":"` + id + `"}`, "NotFoundException", ""},
		{"DeleteAlias", `{"AliasName":"alias/a"}`, "NotFoundException", ""},
		{"DeleteAlias", `{"AliasName":"alias/"}`, "InvalidAliasNameException", ""},
		{"DeleteAlias", `{}`, "ValidationException", ""},
		{"GetKeyPolicy", `{"KeyId":"` + id + `","PolicyName":"mine"}`, "NotFoundException", "No such policy exists"},
		{"ListKeys", `{"Limit":0}`, "ValidationException", ""},
		{"ListKeys", `{"Limit":1001}`, "ValidationException", ""},
		{"ListKeys", `{"Marker":"x"}`, "InvalidMarkerException", ""},
		{"ListKeys", `{"Marker":"` + base64.RawURLEncoding.EncodeToString([]byte("aliases\nx")) + `"}`, "InvalidMarkerException", ""},
		{"ListKeyRotations", `{"KeyId":"` + id + `","Marker":"` + base64.RawURLEncoding.EncodeToString([]byte("rotations\nx")) + `"}`, "InvalidMarkerException", ""},
		{"Encrypt", `{"KeyId":"` + id + `","Plaintext":""}`, "ValidationException", ""},
		{"Encrypt", `{"KeyId":"` + id + `","Plaintext":"*"}`, "SerializationException", ""},
		{"Encrypt", `{"KeyId":"` + id + `","Plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, 4097)) + `"}`, "ValidationException", ""},
		{"Encrypt", `{"KeyId":"` + id + `","Plaintext":"YQ==","EncryptionContext":{"a":null}}`, "ValidationException", ""},
		{"Encrypt", `{"KeyId":"` + id + `","Plaintext":"YQ==","EncryptionContext":{"a":"` + strings.Repeat("x", 8192) + `"}}`, "ValidationException", ""},
		{"Encrypt", `{"KeyId":"` + id + `","Plaintext":"YQ==","EncryptionAlgorithm":"RSAES_OAEP_SHA_1"}`, "InvalidKeyUsageException", ""},
		{"Decrypt", `{"CiphertextBlob":"YQ=="}`, "InvalidCiphertextException", ""},
		{"Decrypt", `{"KeyId":"` + arn + `","CiphertextBlob":"YQ=="}`, "InvalidCiphertextException", ""},
		{"Decrypt", `{}`, "ValidationException", ""},
		{"GenerateDataKey", `{"KeyId":"` + id + `"}`, "ValidationException", "Please specify either number of bytes or key spec."},
		{"GenerateDataKey", `{"KeyId":"` + id + `","KeySpec":"AES_256","NumberOfBytes":5}`, "ValidationException", ""},
		{"GenerateDataKey", `{"KeyId":"` + id + `","NumberOfBytes":0}`, "ValidationException", ""},
		{"CreateGrant", `{}`, "UnknownOperationException", ""},
		{"", `{}`, "UnknownOperationException", ""},
		{"ListKeys", strings.Repeat(" ", 300<<10), "RequestEntityTooLargeException", ""},
	} {
		a := f.call(t, home, tc.operation, tc.body)
		if a.code() != tc.code || tc.message != "" && a.message() != tc.message || a.status < 400 || a.status > 499 || a.message() == "" {
			t.Errorf("%s %.90s: %d %.300s, want %s %s", tc.operation, tc.body, a.status, a.body, tc.code, tc.message)
		}
		if a.header.Get("x-amzn-ErrorType") != tc.code || a.header.Get("Content-Type") != "application/x-amz-json-1.1" {
			t.Errorf("%s: %v", tc.operation, a.header)
		}
	}
	if f.log.Len() > 0 {
		t.Errorf("the log has %s", f.log)
	}
}

func tagList(n int) string {
	s := ""
	for i := range n {
		s += fmt.Sprintf(`{"TagKey":"k%02d","TagValue":"v"},`, i)
	}
	return s
}

func TestSignatures(t *testing.T) {
	f := start(t)
	req, err := http.NewRequest("POST", f.url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "TrentService.ListKeys")
	if a := send(t, req); a.status != 400 || a.code() != "MissingAuthenticationTokenException" || len(f.asked.take()) != 0 {
		t.Errorf("%+v", a)
	}
}

// Each operation asks for permission on what it touches, as kms:<Operation>.
func TestPermissions(t *testing.T) {
	f := start(t)
	arn, id := f.newKey(t)
	second, _ := f.newKey(t)
	f.ok(t, "CreateAlias", `{"AliasName":"alias/a","TargetKeyId":"`+id+`"}`)
	alias := "arn:aws:kms:us-east-1:000000000000:alias/a"
	sealed := f.ok(t, "Encrypt", `{"KeyId":"`+id+`","Plaintext":"YQ=="}`)["CiphertextBlob"].(string)
	f.asked.take()
	for _, tc := range []struct {
		operation, body string
		resources       []string
	}{
		{"CreateKey", `{}`, []string{"*"}},
		{"ListKeys", `{}`, []string{"*"}},
		{"ListAliases", `{"KeyId":"` + id + `"}`, []string{"*"}},
		{"DescribeKey", `{"KeyId":"alias/a"}`, []string{arn}},
		{"DescribeKey", `{"KeyId":"alias/none"}`, []string{"arn:aws:kms:us-east-1:000000000000:alias/none"}},
		{"Decrypt", `{"CiphertextBlob":"` + sealed + `"}`, []string{arn}},
		{"CreateAlias", `{"AliasName":"alias/b","TargetKeyId":"` + id + `"}`, []string{arn, strings.Replace(alias, "/a", "/b", 1)}},
		{"UpdateAlias", `{"AliasName":"alias/a","TargetKeyId":"` + second + `"}`, []string{second, arn, alias}},
		{"DeleteAlias", `{"AliasName":"alias/a"}`, []string{second, alias}},
	} {
		f.call(t, home, tc.operation, tc.body)
		var want []string
		for _, r := range tc.resources {
			want = append(want, "kms:"+tc.operation+" "+r+" "+home)
		}
		if got := f.asked.take(); !slices.Equal(got, want) {
			t.Errorf("%s %s asks %q, want %q", tc.operation, tc.body, got, want)
		}
	}
}

// Conditions see the tags that a request sets or removes, and tags of a new key want the right to tag.
func TestConditionsOnTags(t *testing.T) {
	f := start(t)
	_, id := f.newKey(t)
	const tags = `"Tags":[{"TagKey":"team","TagValue":"a"}]`
	for operation, body := range map[string]string{
		"CreateKey": `{` + tags + `}`, "TagResource": `{"KeyId":"` + id + `",` + tags + `}`, "UntagResource": `{"KeyId":"` + id + `","TagKeys":["team"]}`,
	} {
		f.asked.take()
		f.ok(t, operation, body)
		last := f.asked.last
		if want := operation != "UntagResource"; want != slices.Equal(last.Tags, []access.Tag{{Key: "team", Value: "a"}}) || want == slices.Equal(last.TagKeys, []string{"team"}) {
			t.Errorf("%s asks about the tags %v and the keys %v", operation, last.Tags, last.TagKeys)
		}
		if got := f.asked.take(); operation == "CreateKey" && !slices.Equal(got, []string{"kms:CreateKey * " + home, "kms:TagResource * " + home}) {
			t.Errorf("%s asks %q", operation, got)
		}
	}
}

// Another account neither uses a key nor finds out whether it exists.
func TestOtherAccounts(t *testing.T) {
	f := start(t)
	arn, id := f.newKey(t)
	f.ok(t, "CreateAlias", `{"AliasName":"alias/a","TargetKeyId":"`+id+`"}`)
	sealed := f.ok(t, "Encrypt", `{"KeyId":"`+id+`","Plaintext":"YQ=="}`)["CiphertextBlob"].(string)
	for _, name := range []string{arn, strings.Replace(arn, id, "none", 1), "arn:aws:kms:us-east-1:000000000000:alias/a", "arn:aws:kms:us-east-1:000000000000:alias/none"} {
		for _, operation := range []string{"DescribeKey", "GetKeyPolicy", "DisableKey", "ScheduleKeyDeletion", "ListResourceTags", "ListAliases"} {
			if a := f.call(t, other, operation, `{"KeyId":"`+name+`"}`); a.status != 400 || a.code() != "AccessDeniedException" {
				t.Errorf("%s of %s: %d %s", operation, name, a.status, a.body)
			}
		}
	}
	if a := f.call(t, other, "Decrypt", `{"CiphertextBlob":"`+sealed+`"}`); a.code() != "AccessDeniedException" {
		t.Errorf("decrypt: %s", a.body)
	}
	if a := f.call(t, other, "DescribeKey", `{"KeyId":"`+id+`"}`); a.code() != "NotFoundException" {
		t.Errorf("by id: %s", a.body)
	}
	if keys := f.call(t, other, "ListKeys", `{}`); !strings.Contains(keys.body, `"Keys":[]`) {
		t.Errorf("keys: %s", keys.body)
	}
}

// The policy of the AWS managed key lets users read what it is, no more.
func TestManagedKey(t *testing.T) {
	f := start(t)
	m := f.ok(t, "DescribeKey", `{"KeyId":"alias/aws/ecr"}`)["KeyMetadata"].(map[string]any)
	arn, _ := m["Arn"].(string)
	if m["KeyManager"] != "AWS" || m["KeyState"] != "Enabled" {
		t.Errorf("%v", m)
	}
	if got, err := f.kms.Resolve(context.Background(), home, region, local.ECRAlias); err != nil || got != arn {
		t.Errorf("ECR's key is %s, %v", got, err)
	}
	for operation, more := range map[string]string{
		"DisableKey": "", "ScheduleKeyDeletion": "", "PutKeyPolicy": `,"Policy":"{}"`, "EnableKeyRotation": "", "RotateKeyOnDemand": "",
		"TagResource": `,"Tags":[]`, "UpdateKeyDescription": `,"Description":""`, "Encrypt": `,"Plaintext":"YQ=="`, "GenerateDataKey": `,"KeySpec":"AES_256"`,
	} {
		a := f.call(t, home, operation, `{"KeyId":"`+arn+`"`+more+`}`)
		want := "User: arn:aws:iam::000000000000:root is not authorized to perform: kms:" + operation + " on resource: " + arn +
			" because no resource-based policy allows the kms:" + operation + " action"
		if a.code() != "AccessDeniedException" || a.message() != want {
			t.Errorf("%s: %d %s", operation, a.status, a.body)
		}
	}
	for _, operation := range []string{"GetKeyPolicy", "GetKeyRotationStatus", "ListResourceTags", "ListKeyPolicies", "ListKeyRotations"} {
		f.ok(t, operation, `{"KeyId":"alias/aws/ecr"}`)
	}
}

func TestPages(t *testing.T) {
	f := start(t)
	_, id := f.newKey(t)
	for i := range 6 {
		f.newKey(t)
		f.ok(t, "CreateAlias", fmt.Sprintf(`{"AliasName":"alias/n%d","TargetKeyId":"%s"}`, i, id))
		f.ok(t, "RotateKeyOnDemand", `{"KeyId":"`+id+`"}`)
	}
	f.ok(t, "TagResource", `{"KeyId":"`+id+`","Tags":[`+strings.TrimSuffix(tagList(7), ",")+`]}`)
	for operation, tc := range map[string]struct {
		list, member, body string
		n                  int
	}{
		"ListKeys":         {"Keys", "KeyArn", ``, 7},
		"ListAliases":      {"Aliases", "AliasName", ``, 6},
		"ListResourceTags": {"Tags", "TagKey", `,"KeyId":"` + id + `"`, 7},
		"ListKeyRotations": {"Rotations", "KeyMaterialId", `,"KeyId":"` + id + `"`, 6},
	} {
		seen, marker := map[string]bool{}, ""
		for page := 0; ; page++ {
			out := f.ok(t, operation, `{"Limit":2`+tc.body+marker+`}`)
			list := out[tc.list].([]any)
			for _, e := range list {
				seen[fmt.Sprint(e.(map[string]any)[tc.member])] = true
			}
			next, more := out["NextMarker"].(string)
			if out["Truncated"] != more || len(list) > 2 || page > 4 {
				t.Fatalf("%s, page %d: %v", operation, page, out)
			}
			if !more {
				break
			}
			marker = `,"Marker":"` + next + `"`
		}
		if len(seen) != tc.n {
			t.Errorf("%s: %d elements in pages, want %d", operation, len(seen), tc.n)
		}
	}
}

// Dates are seconds since 1970 as numbers, and what is not there is left out.
func TestShapes(t *testing.T) {
	f := start(t)
	_, id := f.newKey(t)
	m := f.ok(t, "DescribeKey", `{"KeyId":"`+id+`","GrantTokens":["x"],"NoSuchMember":{"a":[1]}}`)["KeyMetadata"].(map[string]any)
	if created, ok := m["CreationDate"].(float64); !ok || created < 1e9 || created > 1e11 {
		t.Errorf("CreationDate is %v", m["CreationDate"])
	}
	if _, there := m["DeletionDate"]; there || len(m["CurrentKeyMaterialId"].(string)) != 64 || len(m) != 15 {
		t.Errorf("%v", m)
	}
	d := f.ok(t, "ScheduleKeyDeletion", `{"KeyId":"`+id+`"}`)
	if _, ok := d["DeletionDate"].(float64); !ok || d["PendingWindowInDays"] != 30.0 {
		t.Errorf("%v", d)
	}
	if a := f.call(t, home, "CancelKeyDeletion", `{"KeyId":"`+id+`"}`); a.status != 200 {
		t.Errorf("%v", a)
	}
	if a := f.call(t, home, "EnableKey", `{"KeyId":"`+id+`"}`); a.status != 200 || a.body != "" {
		t.Errorf("an operation without an output answers %q", a.body)
	}
}

// Whatever is sent, the answer is a KMS answer and nothing is a fault of the server.
func FuzzRequest(f *testing.F) {
	fx := start(f)
	_, id := fx.newKey(f)
	operations := []string{"CreateKey", "DescribeKey", "ListKeys", "CreateAlias", "UpdateAlias", "DeleteAlias", "ListAliases", "PutKeyPolicy",
		"ListKeyRotations", "TagResource", "UntagResource", "ListResourceTags", "Encrypt", "Decrypt", "GenerateDataKey", "ScheduleKeyDeletion"}
	for i := range operations {
		f.Add(i, `{"KeyId":"`+id+`","Limit":1,"Marker":"a2V5cwp4","Tags":[{"TagKey":"a","TagValue":"b"}],"TagKeys":["a"]}`)
	}
	f.Add(11, `{"KeyId":"alias/x","Plaintext":"YQ==","EncryptionContext":{"a":"b"}}`)
	f.Fuzz(func(t *testing.T, i int, body string) {
		a := fx.call(t, home, operations[uint(i)%uint(len(operations))], body)
		if a.status >= 500 || a.body != "" && !json.Valid([]byte(a.body)) || a.status >= 400 && a.code() == "" {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
}
