package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// MirrorVariable names the environment variable that holds the root of a Terraform provider mirror with
// registry.terraform.io/hashicorp/aws in it.
const MirrorVariable = "TF_PLUGIN_MIRROR"

// AWSEnv returns a whole environment in which the AWS CLI and the AWS SDKs call endpoint (for example
// http://127.0.0.1:5050) for every service, with the given keys and region. Nothing of the developer's own AWS
// configuration takes part: other AWS_ variables are dropped, the configuration files are empty ones, and the
// instance metadata service is not asked.
func AWSEnv(t testing.TB, endpoint, accessKeyID, secretAccessKey, region string) []string {
	t.Helper()
	empty := filepath.Join(t.TempDir(), "aws-empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatalf("write an empty AWS configuration: %v", err)
	}
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "AWS_") })
	return append(env,
		"AWS_ACCESS_KEY_ID="+accessKeyID,
		"AWS_SECRET_ACCESS_KEY="+secretAccessKey,
		"AWS_REGION="+region,
		"AWS_DEFAULT_REGION="+region,
		"AWS_ENDPOINT_URL="+endpoint,
		"AWS_CONFIG_FILE="+empty,
		"AWS_SHARED_CREDENTIALS_FILE="+empty,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_PAGER=",
	)
}

// TerraformEnv returns [AWSEnv] made fit for Terraform and OpenTofu: providers come from the local mirror only (see
// [PluginMirror]), the version check is off, no question is asked, and the developer's own TF_ variables are dropped.
// It skips the test when there is no mirror.
func TerraformEnv(t testing.TB, endpoint, accessKeyID, secretAccessKey, region string) []string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "terraform.rc")
	text := fmt.Sprintf("disable_checkpoint = true\n"+
		"provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", PluginMirror(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatalf("write the Terraform configuration: %v", err)
	}
	env := slices.DeleteFunc(AWSEnv(t, endpoint, accessKeyID, secretAccessKey, region),
		func(pair string) bool { return strings.HasPrefix(pair, "TF_") })
	return append(env,
		"TF_CLI_CONFIG_FILE="+config,
		"TF_IN_AUTOMATION=1",
		"TF_INPUT=0",
		"CHECKPOINT_DISABLE=1",
	)
}

// PluginMirror returns the root of a provider mirror that holds hashicorp/aws for this platform: the directory in
// TF_PLUGIN_MIRROR, else the first of Terraform's implied mirror directories
// (https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories) or directories
// below /opt that has it. Without one it skips the test. A TF_PLUGIN_MIRROR without the provider fails it, because a
// wrong setting shall not look like a missing one.
func PluginMirror(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(MirrorVariable); dir != "" {
		if !holdsAWSProvider(dir) {
			t.Fatalf("%s=%s holds no registry.terraform.io/hashicorp/aws for %s_%s",
				MirrorVariable, dir, runtime.GOOS, runtime.GOARCH)
		}
		return dir
	}
	for _, dir := range mirrorPlaces() {
		if holdsAWSProvider(dir) {
			return dir
		}
	}
	Missing(t, "needs a Terraform provider mirror with hashicorp/aws: run terraform providers mirror DIR in "+
		"modules/ecr and set %s=DIR", MirrorVariable)
	return ""
}

func mirrorPlaces() []string {
	places := []string{"/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins"}
	if home, err := os.UserHomeDir(); err == nil {
		places = append([]string{
			filepath.Join(home, ".terraform.d", "plugins"),
			filepath.Join(home, ".local", "share", "terraform", "plugins"),
			filepath.Join(home, "Library", "Application Support", "io.terraform", "plugins"),
		}, places...)
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		places = append([]string{filepath.Join(dir, "terraform", "plugins")}, places...)
	}
	// The pattern is a constant, so Glob cannot report it malformed.
	below, _ := filepath.Glob("/opt/*/registry.terraform.io")
	for _, dir := range below {
		places = append(places, filepath.Dir(dir))
	}
	return places
}

// holdsAWSProvider knows both layouts of a mirror: packed (one zip per version) and unpacked (a directory per version
// and platform), see https://developer.hashicorp.com/terraform/cli/config/config-file#filesystem_mirror.
func holdsAWSProvider(dir string) bool {
	base := filepath.Join(dir, "registry.terraform.io", "hashicorp", "aws")
	platform := runtime.GOOS + "_" + runtime.GOARCH
	for _, pattern := range []string{
		filepath.Join(base, "*", platform, "terraform-provider-aws_*"),
		filepath.Join(base, "terraform-provider-aws_*_"+platform+".zip"),
	} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}
