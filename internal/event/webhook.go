package event

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
)

// Headers of a delivery to a webhook. The signature is "v1=" and the hexadecimal
// HMAC-SHA256 under the secret of the timestamp (seconds since the Unix epoch), a
// dot and the body.
const (
	HeaderEventID   = "Berth-Event-Id"
	HeaderTimestamp = "Berth-Timestamp"
	HeaderSignature = "Berth-Signature"
)

// MinSecret is the shortest secret of webhooks, in bytes.
const MinSecret = 16

const (
	webhookTimeout  = 10 * time.Second // of one delivery
	webhookAtOnce   = 8
	maxWebhookReply = 4 << 10 // bytes that are read of an answer
)

// webhookSink posts each event to a URL.
type webhookSink struct {
	url    string
	name   string
	secret []byte
	client *http.Client
	now    func() time.Time
}

func newWebhook(t Target, secret []byte, now func() time.Time) *webhookSink {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = webhookAtOnce
	transport.MaxResponseHeaderBytes = 64 << 10
	return &webhookSink{
		url: t.url.String(), name: t.Name(), secret: secret, now: now,
		client: &http.Client{
			Transport: transport, Timeout: webhookTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (w *webhookSink) Name() string { return w.name }

func (w *webhookSink) Batch() int { return webhookAtOnce }

// Deliver posts the events at the same time: no two are of one image.
func (w *webhookSink) Deliver(ctx context.Context, events []meta.Event) []error {
	out := make([]error, len(events))
	var posts sync.WaitGroup
	for i, e := range events {
		posts.Go(func() { out[i] = w.post(ctx, e) })
	}
	posts.Wait()
	return out
}

func (w *webhookSink) post(ctx context.Context, e meta.Event) (err error) {
	body, err := json.Marshal(registry.EnvelopeOf(e))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the webhook %s cannot be called", w.name)
	}
	stamp := strconv.FormatInt(w.now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "berth")
	req.Header.Set(HeaderEventID, e.UUID)
	req.Header.Set(HeaderTimestamp, stamp)
	req.Header.Set(HeaderSignature, Sign(w.secret, stamp, body))
	resp, err := w.client.Do(req)
	if err != nil {
		return fmt.Errorf("the webhook %s does not answer: %w", w.name, withoutURL(err))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxWebhookReply))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	says := fmt.Sprintf("%s %s", resp.Status, strings.TrimSpace(string(text)))
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return &RefusedError{says}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the webhook %s answered %s", w.name, says)
	}
	return err
}

// Sign is the signature of a delivery, see [HeaderSignature].
func Sign(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}

// withoutURL leaves out of an error of an HTTP client what it asked for, in which
// there may be a secret.
func withoutURL(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}
