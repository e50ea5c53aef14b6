package kmsapi_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/testkit"
)

// cli is the aws command, which checks every answer against its own model of the service.
type cli struct {
	t    *testing.T
	path string
	env  []string
}

func (c cli) command(args ...string) testkit.Command {
	return testkit.Command{Path: c.path, Args: append([]string{"kms", "--output", "json"}, args...), Env: c.env}
}

func (c cli) run(args ...string) testkit.Result {
	c.t.Helper()
	return c.command(args...).Run(c.t)
}

// get runs an operation and reads what JMESPath finds in the answer.
func (c cli) get(query string, args ...string) string {
	c.t.Helper()
	out := c.run(append(args, "--query", query)...).Stdout
	var s string
	if json.Unmarshal([]byte(out), &s) == nil {
		return s
	}
	return strings.Join(strings.Fields(out), "")
}

func (c cli) want(want, query string, args ...string) {
	c.t.Helper()
	if got := c.get(query, args...); got != want {
		c.t.Errorf("aws kms %s: %s = %s, want %s", strings.Join(args, " "), query, got, want)
	}
}

func (c cli) refused(code string, args ...string) {
	c.t.Helper()
	out, err := c.command(args...).Try(c.t.Context())
	if err != nil || out.ExitCode == 0 || !strings.Contains(out.Stderr, "("+code+")") {
		c.t.Errorf("aws kms %s: %d %s, %v, want %s", strings.Join(args, " "), out.ExitCode, out.Stderr, err, code)
	}
}

func TestCommandLine(t *testing.T) {
	path := testkit.Tool(t, "aws")
	f := start(t)
	c := cli{t, path, testkit.AWSEnv(t, f.url, "AKIA"+home, secret, region)}
	t.Run("keys", func(t *testing.T) { c.t = t; keysByCLI(t, c) })
	t.Run("rotation", func(t *testing.T) { c.t = t; rotationByCLI(t, c) })
	t.Run("crypto", func(t *testing.T) { c.t = t; cryptoByCLI(t, c) })
}

func keysByCLI(t *testing.T, c cli) {
	id := c.get("KeyMetadata.KeyId", "create-key", "--description", "for tests", "--tags", "TagKey=b,TagValue=2", "TagKey=a,TagValue=1")
	arn := "arn:aws:kms:us-east-1:000000000000:key/" + id
	c.want(`["`+arn+`","Enabled",true,"CUSTOMER","ENCRYPT_DECRYPT","SYMMETRIC_DEFAULT","AWS_KMS",false,"fortests"]`,
		"KeyMetadata.[Arn,KeyState,Enabled,KeyManager,KeyUsage,KeySpec,Origin,MultiRegion,Description]", "describe-key", "--key-id", id)
	c.want(`[["`+id+`","`+arn+`"]]`, "Keys[].[KeyId,KeyArn]", "list-keys")
	c.want("default", "PolicyNames[0]", "list-key-policies", "--key-id", id)
	if got := c.get("Policy", "get-key-policy", "--key-id", arn, "--policy-name", "default"); got != local.DefaultPolicy(scope()) {
		t.Errorf("the policy is %s", got)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}]}`
	c.run("put-key-policy", "--key-id", id, "--policy", policy)
	c.want(policy, "Policy", "get-key-policy", "--key-id", arn)
	c.refused("MalformedPolicyDocumentException", "put-key-policy", "--key-id", id, "--policy", "{}")

	c.run("create-alias", "--alias-name", "alias/one", "--target-key-id", arn)
	c.refused("AlreadyExistsException", "create-alias", "--alias-name", "alias/one", "--target-key-id", id)
	c.want(`[["alias/one","arn:aws:kms:us-east-1:000000000000:alias/one","`+id+`"]]`,
		"Aliases[].[AliasName,AliasArn,TargetKeyId]", "list-aliases", "--key-id", id)
	second := c.get("KeyMetadata.KeyId", "create-key")
	c.run("update-alias", "--alias-name", "alias/one", "--target-key-id", second)
	c.want(second, "KeyMetadata.KeyId", "describe-key", "--key-id", "alias/one")
	c.run("delete-alias", "--alias-name", "alias/one")
	c.refused("NotFoundException", "describe-key", "--key-id", "alias/one")

	c.want(`[["a","1"],["b","2"]]`, "Tags[].[TagKey,TagValue]", "list-resource-tags", "--key-id", id)
	c.run("tag-resource", "--key-id", id, "--tags", "TagKey=c,TagValue=3")
	c.run("untag-resource", "--key-id", id, "--tag-keys", "a", "none")
	c.want(`["b","c"]`, "Tags[].TagKey", "list-resource-tags", "--key-id", id)
	c.run("update-key-description", "--key-id", id, "--description", "")
	c.want(``, "KeyMetadata.Description", "describe-key", "--key-id", id)

	c.run("disable-key", "--key-id", id)
	c.want(`["Disabled",false]`, "KeyMetadata.[KeyState,Enabled]", "describe-key", "--key-id", id)
	c.run("enable-key", "--key-id", id)
	c.want(`["`+arn+`","PendingDeletion",7]`, "[KeyId,KeyState,PendingWindowInDays]",
		"schedule-key-deletion", "--key-id", id, "--pending-window-in-days", "7")
	c.refused("KMSInvalidStateException", "enable-key", "--key-id", id)
	c.want(arn, "KeyId", "cancel-key-deletion", "--key-id", id)
	c.want("Disabled", "KeyMetadata.KeyState", "describe-key", "--key-id", id)
}

func rotationByCLI(t *testing.T, c cli) {
	id := c.get("KeyMetadata.KeyId", "create-key")
	c.want(`[false,null]`, "[KeyRotationEnabled,RotationPeriodInDays]", "get-key-rotation-status", "--key-id", id)
	c.run("enable-key-rotation", "--key-id", id, "--rotation-period-in-days", "180")
	c.want(`[true,180]`, "[KeyRotationEnabled,RotationPeriodInDays]", "get-key-rotation-status", "--key-id", id)
	c.run("disable-key-rotation", "--key-id", id)
	c.want(`false`, "KeyRotationEnabled", "get-key-rotation-status", "--key-id", id)
	c.want(id, "KeyId", "rotate-key-on-demand", "--key-id", id)
	c.want(`[["ON_DEMAND","CURRENT"]]`, "Rotations[].[RotationType,KeyMaterialState]", "list-key-rotations", "--key-id", id)
	c.want(`["NON_CURRENT","CURRENT"]`, "Rotations[].KeyMaterialState", "list-key-rotations", "--key-id", id, "--include-key-material", "ALL_KEY_MATERIAL")
}

func cryptoByCLI(t *testing.T, c cli) {
	id := c.get("KeyMetadata.KeyId", "create-key")
	arn := "arn:aws:kms:us-east-1:000000000000:key/" + id
	blob := filepath.Join(t.TempDir(), "blob")
	unseal := func(text string) {
		t.Helper()
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(blob, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unseal(c.get("CiphertextBlob", "encrypt", "--key-id", id, "--plaintext", "hello", "--encryption-context", "a=b"))
	c.want(`["`+base64.StdEncoding.EncodeToString([]byte("hello"))+`","`+arn+`","SYMMETRIC_DEFAULT"]`, "[Plaintext,KeyId,EncryptionAlgorithm]",
		"decrypt", "--ciphertext-blob", "fileb://"+blob, "--encryption-context", "a=b")
	c.refused("InvalidCiphertextException", "decrypt", "--ciphertext-blob", "fileb://"+blob)
	c.refused("IncorrectKeyException", "decrypt", "--ciphertext-blob", "fileb://"+blob, "--encryption-context", "a=b",
		"--key-id", c.get("KeyMetadata.KeyId", "create-key"))
	key := strings.Split(strings.Trim(c.get("[Plaintext,CiphertextBlob]", "generate-data-key", "--key-id", id, "--key-spec", "AES_256"), `[]"`), `","`)
	unseal(key[1])
	c.want(key[0], "Plaintext", "decrypt", "--ciphertext-blob", "fileb://"+blob, "--key-id", id)
	unseal(c.get("CiphertextBlob", "generate-data-key-without-plaintext", "--key-id", id, "--number-of-bytes", "7"))
	if got, err := base64.StdEncoding.DecodeString(c.get("Plaintext", "decrypt", "--ciphertext-blob", "fileb://"+blob)); err != nil || len(got) != 7 {
		t.Errorf("%x, %v", got, err)
	}
	c.refused("DryRunOperationException", "encrypt", "--key-id", id, "--plaintext", "hello", "--dry-run")
	c.run("disable-key", "--key-id", id)
	c.refused("DisabledException", "encrypt", "--key-id", id, "--plaintext", "hello")
}

func scope() meta.Scope { return meta.Scope{Account: home, Region: region} }
