package sdk_test

import (
	"strings"
	"testing"

	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// TestBoto3 runs testdata/ecr_by_boto3.py, which says what it shows.
func TestBoto3(t *testing.T) {
	python := testkit.Python(t, "boto3")
	s := servertest.Start(t)
	env := testkit.AWSEnv(t, s.Endpoint, s.Root.AccessKeyID, s.Root.SecretAccessKey, s.Region)
	result := testkit.Command{
		Path: python, Args: []string{"-B", "testdata/ecr_by_boto3.py"}, Env: append(env, "BERTH_UNROUTED="+strings.Join(unrouted(), " ")),
	}.Run(t)
	if !strings.Contains(result.Stderr, "\nOK\n") {
		t.Errorf("unittest did not say that all is well:\n%s", result.Stderr)
	}
}
