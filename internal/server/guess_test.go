package server_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"berth/internal/server/servertest"
)

// Who guesses passwords is not heard any more after a while, at any door, and is
// told when to come back.
func TestGuessesAreThrottled(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	guess := "Basic " + base64.StdEncoding.EncodeToString([]byte("AWS:guess"))
	ask := func() *http.Response {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, s.Endpoint+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", guess)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for range 300 { // some come back meanwhile
		resp := ask()
		if resp.StatusCode == http.StatusUnauthorized {
			continue
		}
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "1" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		for range 3 { // a second may pass in between
			if _, err := s.ECR().DescribeRepositories(t.Context(), nil); err != nil && strings.Contains(err.Error(), "ThrottlingException") {
				return
			}
			for ask().StatusCode != http.StatusTooManyRequests {
				continue
			}
		}
		t.Fatal("the ECR API hears who guessed")
	}
	t.Fatal("300 guesses were heard")
}
