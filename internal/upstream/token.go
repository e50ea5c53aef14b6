package upstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// realms are the token servers that registries are known to have on a host other
// than their own. Credentials go nowhere else (CVE-2026-33540: a registry named
// any realm, and got what was meant for another).
var realms = map[string]string{
	"registry-1.docker.io": "auth.docker.io",
	"registry.gitlab.com":  "gitlab.com",
}

// A tokenKey says for whom and for what a token is.
type tokenKey struct {
	host       string
	repository string
	who        Credentials
}

type token struct {
	authorization string
	until         time.Time
}

// maxTokens bounds how many tokens are kept.
const maxTokens = 1000

// tokens are kept until shortly before they end.
type tokens struct {
	mu    sync.Mutex
	known map[tokenKey]token
}

func (t *tokens) get(k tokenKey, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if have, ok := t.known[k]; ok && now.Before(have.until) {
		return have.authorization
	}
	return ""
}

func (t *tokens) put(k tokenKey, v token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxTokens {
		clear(t.known)
	}
	t.known[k] = v
}

// answer gives the Authorization header that a challenge asks for (RFC 9110,
// section 11; distribution's token authentication specification).
func (c *Client) answer(ctx context.Context, s Source, k tokenKey, challenges []string) (string, error) {
	scheme, parameters := pick(challenges)
	switch scheme {
	case "basic":
		if k.who == (Credentials{}) {
			return "", fail(Denied, s.Host, nil, "wants a user name and a password, and the rule has none")
		}
		authorization := basic(k.who)
		c.tokens.put(k, token{authorization, c.now().Add(time.Hour)})
		return authorization, nil
	case "bearer":
		t, err := c.fetchToken(ctx, s, k, parameters)
		if err != nil {
			return "", err
		}
		c.tokens.put(k, t)
		return t.authorization, nil
	}
	return "", fail(Denied, s.Host, nil, "wants a kind of login that is not known here")
}

func basic(who Credentials) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(who.Username+":"+who.Password))
}

// fetchToken asks the realm of a Bearer challenge.
func (c *Client) fetchToken(ctx context.Context, s Source, k tokenKey, parameters map[string]string) (token, error) {
	realm, err := url.Parse(parameters["realm"])
	if err != nil || realm.Host == "" || realm.User != nil {
		return token{}, fail(Malformed, s.Host, err, "names a token realm that is no URL")
	}
	authorization := ""
	if k.who != (Credentials{}) {
		if !c.trusts(s.Host, realm) {
			return token{}, fail(Forbidden, s.Host, nil, "names the token realm %s, which does not get its credentials", realm.Host)
		}
		authorization = basic(k.who)
	}
	q := realm.Query()
	if service := parameters["service"]; service != "" {
		q.Set("service", service)
	}
	if k.repository != "" {
		q.Set("scope", "repository:"+k.repository+":pull")
	}
	realm.RawQuery = q.Encode()
	resp, err := c.send(ctx, s.Host, http.MethodGet, realm, http.Header{"Accept": {"application/json"}}, authorization)
	if err != nil {
		return token{}, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		return token{}, c.judge(resp, s, " (a token)")
	default: // no redirects either
		return token{}, fail(Denied, s.Host, discard(resp), "gives us no token (%s)", resp.Status)
	}
	body, err := readAll(resp.Body, maxToken)
	if err != nil {
		return token{}, fail(Unavailable, s.Host, err, "broke off its token")
	}
	var out struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if json.Unmarshal(body, &out) != nil || out.Token+out.AccessToken == "" {
		return token{}, fail(Malformed, s.Host, nil, "gives us a token that is none")
	}
	if out.Token == "" {
		out.Token = out.AccessToken
	}
	// A token that says nothing lasts a minute (distribution's token authentication
	// specification, expires_in); one that is about to end is not used.
	lasts := time.Duration(max(out.ExpiresIn, 60)) * time.Second
	return token{"Bearer " + out.Token, c.now().Add(min(lasts, time.Hour) * 3 / 4)}, nil
}

// trusts reports whether a realm gets the credentials for a host.
func (c *Client) trusts(host string, realm *url.URL) bool {
	if c.isOwn(host, realm) {
		return true
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	known := realms[host]
	return known != "" && c.isOwn(known, realm)
}

// parameter is one of a challenge: name=token or name="quoted".
var parameter = regexp.MustCompile(`([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))`)

// pick finds a challenge that can be answered, Bearer before Basic.
func pick(challenges []string) (scheme string, parameters map[string]string) {
	for _, challenge := range challenges {
		name, rest, _ := strings.Cut(strings.TrimSpace(challenge), " ")
		name = strings.ToLower(name)
		if name != "bearer" && (name != "basic" || scheme != "") {
			continue
		}
		scheme, parameters = name, map[string]string{}
		for _, m := range parameter.FindAllStringSubmatch(rest, 32) {
			parameters[strings.ToLower(m[1])] = strings.ReplaceAll(m[2], `\"`, `"`) + m[3]
		}
		if name == "bearer" {
			break
		}
	}
	return scheme, parameters
}
