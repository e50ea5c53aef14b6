package server_test

import (
	"net/http"
	"strings"
	"testing"

	"berth/internal/server/servertest"
)

// TestAnswersAreNoPages: whatever a browser is made to ask for, it renders and
// runs nothing of the answer, and a cookie or the browser's own standing lets
// nobody in (CVE-2025-32019, stored scripts, and CVE-2019-19025, forged requests,
// of Harbor).
func TestAnswersAreNoPages(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/healthz", "", 200}, {"GET", "/v2/", "", 401}, {"GET", "/v2/%3Cscript%3E/tags/list", "", 401}, {"GET", "/%3Cscript%3E", "", 404},
		{"POST", "/", "Action=%3Cscript%3E", 400}, {"POST", "/", "Action=CreateUser&UserName=admin", 403}, {"POST", "/", "Action=BerthCreateAccount&AccountId=111122223333", 403},
		{"DELETE", "/v2/app/manifests/v1", "", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, s.Endpoint+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Cookie", "session=of-a-browser")
		req.Header.Set("Origin", "https://attacker.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		h := resp.Header
		if resp.StatusCode != tc.status || h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") ||
			strings.Contains(h.Get("Content-Type"), "html") || h.Get("Access-Control-Allow-Origin") != "" || h.Get("Set-Cookie") != "" || h.Get("Location") != "" {
			t.Errorf("%s %s: %s %v", tc.method, tc.path, resp.Status, h)
		}
	}
}
