// Package vault keeps keys in the transit secrets engine of HashiCorp Vault, or
// of OpenBao, over its HTTP API.
//
// # Guarantees
//
//   - Keys never leave Vault: they wrap and unwrap there (Vault API
//     documentation, "Transit secrets engine", Encrypt Data and Decrypt Data).
//     The context is the associated data of an AEAD, so only the same one
//     unwraps. The keys must be of an AEAD kind, such as aes256-gcm96, and must
//     not be derived.
//   - The token is asked for at each request and is never in an error; it goes
//     to the address that was given and follows no redirect.
//   - Every request ends: it has a timeout, and its answer a bound.
//
// The transit key NAME is known as arn:aws:kms:REGION:ACCOUNT:key/NAME. Account
// and region of such an ARN are not looked at: who has the token has the keys.
package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/internal/kms"
)

// Limits of a request.
const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 64 << 10 // bytes
	maxKey         = 4096     // bytes, as AWS KMS has it
)

// CacheFor is how long an unwrapped key may be used without asking Vault again.
const CacheFor = 10 * time.Second

// Options say where Vault is. Address and Token are required.
type Options struct {
	Address string // base URL, such as https://vault.example.com:8200
	Mount   string // of the transit engine; empty is transit
	// Namespace is sent as X-Vault-Namespace unless it is empty.
	Namespace string
	// Token gives the token of now, so that it can be renewed.
	Token   func(ctx context.Context) (string, error)
	Timeout time.Duration     // of a request; 0 is ten seconds
	Client  http.RoundTripper // nil is the default transport, with the system's roots
}

// Provider is a transit engine.
type Provider struct {
	opt    Options
	base   string
	client *http.Client
	name   *regexp.Regexp
}

// New makes a provider. It fails when the address is not an absolute URL.
func New(o Options) (*Provider, error) {
	u, err := url.Parse(o.Address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("the address of Vault is not a URL such as https://vault.example.com:8200")
	}
	if o.Token == nil {
		return nil, errors.New("a token of Vault is needed")
	}
	if o.Mount == "" {
		o.Mount = "transit"
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &Provider{
		opt: o, base: strings.TrimSuffix(o.Address, "/") + "/v1/" + strings.Trim(o.Mount, "/") + "/",
		name: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`),
		client: &http.Client{Transport: o.Client, Timeout: o.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// CacheFor implements [kms.Provider].
func (*Provider) CacheFor() time.Duration { return CacheFor }

// Resolve implements [kms.Provider]. A name is that of a transit key, or its
// ARN; there are no aliases, and alias/aws/ecr is not made.
func (p *Provider) Resolve(ctx context.Context, account, region, name string) (string, error) {
	arn := name
	if !strings.HasPrefix(name, "arn:") {
		if !p.name.MatchString(name) {
			return "", &kms.Error{Code: kms.NotFound, Message: "Invalid keyId '" + name + "'"}
		}
		arn = "arn:aws:kms:" + region + ":" + account + ":key/" + name
	}
	transit, err := p.transitKey(arn)
	if err != nil {
		return "", err
	}
	var out struct {
		Data struct {
			Supports *bool `json:"supports_encryption"`
			Derived  bool
		}
	}
	if err := p.call(ctx, http.MethodGet, "keys/"+transit, arn, nil, &out); err != nil {
		return "", err
	}
	if out.Data.Supports != nil && !*out.Data.Supports || out.Data.Derived {
		return "", &kms.Error{Code: kms.InvalidUsage, Message: arn + " is a key that does not encrypt, or that needs a derivation context."}
	}
	return arn, nil
}

// transitKey is the name of the key of an ARN.
func (p *Provider) transitKey(arn string) (string, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) == 6 && parts[0] == "arn" && parts[2] == "kms" {
		if name, ok := strings.CutPrefix(parts[5], "key/"); ok && p.name.MatchString(name) {
			return name, nil
		}
	}
	return "", &kms.Error{Code: kms.InvalidARN, Message: "Invalid arn " + arn}
}

// Key implements [kms.Provider].
func (p *Provider) Key(arn string) kms.Wrapper { return key{p, arn} }

type key struct {
	vault *Provider
	arn   string
}

// Wrap implements [kms.Wrapper].
func (k key) Wrap(ctx context.Context, plain []byte, c kms.Context) ([]byte, error) {
	if len(plain) == 0 || len(plain) > maxKey {
		return nil, fmt.Errorf("only keys of 1 to %d bytes can be wrapped", maxKey)
	}
	var out struct{ Data struct{ Ciphertext string } }
	err := k.use(ctx, "encrypt/", map[string]string{"plaintext": base64.StdEncoding.EncodeToString(plain), "associated_data": associated(c)}, &out)
	if err == nil && !strings.HasPrefix(out.Data.Ciphertext, "vault:") {
		err = errors.New("the answer of Vault has no ciphertext")
	}
	return []byte(out.Data.Ciphertext), err
}

// Unwrap implements [kms.Wrapper].
func (k key) Unwrap(ctx context.Context, wrapped []byte, c kms.Context) ([]byte, error) {
	if !bytes.HasPrefix(wrapped, []byte("vault:")) || len(wrapped) > 2*maxKey {
		return nil, &kms.Error{Code: kms.InvalidCipher, Message: "The bytes are not a key that Vault wrapped."}
	}
	var out struct{ Data struct{ Plaintext string } }
	if err := k.use(ctx, "decrypt/", map[string]string{"ciphertext": string(wrapped), "associated_data": associated(c)}, &out); err != nil {
		return nil, err
	}
	plain, err := base64.StdEncoding.DecodeString(out.Data.Plaintext)
	if err != nil || len(plain) == 0 {
		return nil, errors.New("the answer of Vault has no plaintext")
	}
	return plain, nil
}

func (k key) use(ctx context.Context, path string, in, out any) error {
	name, err := k.vault.transitKey(k.arn)
	if err != nil {
		return err
	}
	return k.vault.call(ctx, http.MethodPost, path+name, k.arn, in, out)
}

// associated writes a context so that no two have one form: sorted, every text
// behind its length.
func associated(c kms.Context) string {
	out := []byte("berth kms context v1")
	text := func(s string) { out = append(binary.BigEndian.AppendUint32(out, uint32(len(s))), s...) }
	for _, name := range slices.Sorted(maps.Keys(c)) {
		text(name)
		text(c[name])
	}
	return base64.StdEncoding.EncodeToString(out)
}

// call sends a request and reads the answer into out.
func (p *Provider) call(ctx context.Context, method, path, arn string, in, out any) (err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return fmt.Errorf("ask Vault: %w", err)
	}
	token, err := p.opt.Token(ctx)
	if err != nil {
		return fmt.Errorf("get a token of Vault: %w", err)
	}
	req.Header.Set("X-Vault-Token", token)
	req.Header.Set("X-Vault-Request", "true") // a Vault agent asks for it (Vault documentation, "Agent", require_request_header)
	req.Header.Set("Content-Type", "application/json")
	if p.opt.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", p.opt.Namespace)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask Vault: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the answer of Vault: %w", err)
	}
	if len(data) > maxAnswer {
		return fmt.Errorf("the answer of Vault has more than %d bytes", maxAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(resp.StatusCode, arn, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return errors.New("the answer of Vault is not the JSON of its API")
	}
	return nil
}

// refusal maps an answer to an error. Vault tells refusals apart by texts only
// (Vault API documentation, "HTTP status codes", for the numbers; the texts are
// those of its transit engine).
func refusal(status int, arn string, data []byte) error {
	var answer struct{ Errors []string }
	_ = json.Unmarshal(data, &answer) // what is no JSON has no texts
	text := strings.Join(answer.Errors, "; ")
	if len(text) > 500 {
		text = text[:500]
	}
	cause := fmt.Errorf("vault answers %d: %q", status, text)
	switch {
	case status == http.StatusForbidden:
		return &kms.Error{Code: kms.AccessDenied, Message: "Vault denies the use of " + arn + ".", Err: cause}
	case status == http.StatusNotFound, status == http.StatusBadRequest && strings.Contains(text, "encryption key not found"):
		return &kms.Error{Code: kms.NotFound, Message: "Key '" + arn + "' does not exist", Err: cause}
	case status == http.StatusBadRequest && (strings.Contains(text, "disallowed by policy") || strings.Contains(text, "too old")):
		return &kms.Error{Code: kms.InvalidState, Message: "Vault does not decrypt with this version of " + arn + " any more.", Err: cause}
	case status == http.StatusBadRequest && (strings.Contains(text, "invalid ciphertext") || strings.Contains(text, "message authentication failed") ||
		strings.Contains(text, "unable to decrypt") || strings.Contains(text, "cipher")):
		return &kms.Error{Code: kms.InvalidCipher, Message: "The ciphertext is damaged, or was made with another key or context.", Err: cause}
	}
	return cause
}
