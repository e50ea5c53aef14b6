package module

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"berth/internal/testkit"
)

// moto starts moto_server, an ECR control plane that others wrote, and returns its endpoint.
func moto(t *testing.T) string {
	t.Helper()
	port := testkit.FreePort(t)
	endpoint := fmt.Sprintf("http://127.0.0.1:%d", port)
	cmd := exec.Command(testkit.Tool(t, "moto_server"), "-H", "127.0.0.1", "-p", fmt.Sprint(port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it may be a shell script in front of the server
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	})
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: time.Second}
	deadline := time.Now().Add(time.Minute)
	for {
		response, err := client.Get(endpoint + "/moto-api/data.json")
		if err == nil {
			if err := response.Body.Close(); err != nil {
				t.Fatal(err)
			}
			return endpoint
		}
		if time.Now().After(deadline) {
			t.Fatalf("moto_server does not answer: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// The engine speaks ECR, not a dialect of our own: the whole cycle against an independent server. It has no
// pull-through cache rules, which are left out.
func TestWholeCycleAgainstMoto(t *testing.T) {
	endpoint := moto(t)
	client, err := NewClient(context.Background(), ClientOptions{Endpoint: endpoint, Region: "eu-west-1", AccessKeyID: "a", SecretAccessKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if n := mustApply(t, stackOf(t, seed(t, "basic-example.hcl")), client, PlanOptions{}); n != (Result{Added: 4}) {
		t.Errorf("created %+v", n)
	}
	if p := mustPlan(t, stackOf(t, seed(t, "basic-example.hcl")), client, PlanOptions{}); p.HasChanges() {
		t.Error(text(t, p))
	}
	altered := stackOf(t, `module "ecr" {
  source = "./modules/ecr"
  repositories = {
    "flowise-server" = {
      image_tag_mutability = "IMMUTABLE"
      max_image_count      = 5
      tags                 = { Team = "a" }
      repository_policy    = jsonencode({
        Version   = "2012-10-17"
        Statement = [{ Sid = "Pull", Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:root" }, Action = ["ecr:BatchGetImage"] }]
      })
    }
  }
}`)
	if n := mustApply(t, altered, client, PlanOptions{}); n != (Result{Added: 1, Changed: 2, Destroyed: 2}) {
		t.Errorf("changed %+v", n)
	}
	if p := mustPlan(t, altered, client, PlanOptions{}); p.HasChanges() {
		t.Error(text(t, p))
	}
	out, err := altered.Outputs(context.Background(), client)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := out.Raw("flowise_server_url"); err != nil || got != "123456789012.dkr.ecr.eu-west-1.amazonaws.com/flowise-server" {
		t.Errorf("%q, %v", got, err)
	}
	destroy, err := altered.PlanDestroy(context.Background(), client, PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := client.Apply(context.Background(), destroy, nil); err != nil || n != (Result{Destroyed: 3}) {
		t.Errorf("destroyed %+v, %v", n, err)
	}
}
