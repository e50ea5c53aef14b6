package event

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"berth/internal/meta"
	"berth/internal/registry"
)

// maxImport is how many findings BatchImportFindings takes
// (API_BatchImportFindings).
const maxImport = 100

// maxFindings bounds the findings of one image that are told.
const maxFindings = 100_000

// hubSink keeps Security Hub, or what speaks its API, in step with what scans
// found. An event only says which image to look at: what is imported is the
// difference between what is known of the image now and what Security Hub was
// told before. So an event that comes twice, late or never does no harm beyond
// the next one.
type hubSink struct {
	name, account, region string
	client                *securityhub.Client
	db                    *meta.DB
	registry              *registry.Registry
	now                   func() time.Time
}

func openHub(ctx context.Context, t Target, s Settings) (Sink, error) {
	c, err := awsConfig(ctx, t)
	if err != nil {
		return nil, err
	}
	q := t.url.Query()
	return &hubSink{
		name: t.Name(), account: t.url.Host, region: q.Get("region"), db: s.DB, registry: s.Registry, now: s.Now,
		client: securityhub.NewFromConfig(c, func(o *securityhub.Options) {
			o.RetryMaxAttempts = 1 // the outbox tries again
			if endpoint := q.Get("endpoint"); endpoint != "" {
				o.BaseEndpoint = &endpoint
			}
		}),
	}, nil
}

func (h *hubSink) Name() string { return h.name }

func (h *hubSink) Batch() int { return 4 }

// Deliver looks at the image of each event.
func (h *hubSink) Deliver(ctx context.Context, events []meta.Event) []error {
	out := make([]error, len(events))
	for i, e := range events {
		if e.Repository == "" || e.Digest == "" {
			continue
		}
		var refused *RefusedError
		if out[i] = h.reconcile(ctx, e); out[i] != nil && !errors.As(out[i], &refused) { // it is about the sink
			for j := i + 1; j < len(events); j++ {
				out[j] = out[i]
			}
			break
		}
	}
	return out
}

// reconcile tells Security Hub what it does not know of an image.
func (h *hubSink) reconcile(ctx context.Context, e meta.Event) error {
	view, err := h.registry.Scan(ctx, e.Scope, e.Repository, registry.ImageRef{Digest: e.Digest}, "", maxFindings)
	found := view.Findings
	switch {
	case registry.Is(err, registry.RepositoryNotFound), registry.Is(err, registry.ImageNotFound):
		found = nil
	case registry.Is(err, registry.ScanNotFound):
		// What was found before stands until there is a scan, but for an archived image, which pulls do not find.
		if _, err := h.registry.Image(ctx, e.Scope, e.Repository, registry.ImageRef{Digest: e.Digest}); !registry.Is(err, registry.ImageNotFound) {
			return nil
		}
		found = nil
	case err != nil:
		return err
	case view.Image.Status != meta.ImageActive:
		found = nil
	case view.CompletedAt.IsZero() || view.Status != "COMPLETE" && view.Status != "ACTIVE":
		return nil
	}
	before, err := h.reported(ctx, e)
	if err != nil {
		return err
	}
	a := asff{account: h.account, region: h.region, event: e, now: h.now()}
	if a.account == "" {
		a.account = e.Scope.Account
	}
	imports, after := a.plan(view, found, before)
	if len(imports) == 0 {
		return nil
	}
	failed, err := h.send(ctx, imports)
	return errors.Join(err, h.keep(ctx, e, merge(before, after, failed)))
}

// send imports findings. failed says of those that were not taken why; err is
// nil when all were, or the first of these as a [RefusedError].
func (h *hubSink) send(ctx context.Context, imports []types.AwsSecurityFinding) (failed map[string]bool, err error) {
	failed = map[string]bool{}
	for len(imports) > 0 {
		n := min(len(imports), maxImport)
		out, serr := h.client.BatchImportFindings(ctx, &securityhub.BatchImportFindingsInput{Findings: imports[:n]})
		if serr != nil {
			for _, f := range imports {
				failed[*f.Id] = true
			}
			return failed, serr
		}
		for _, f := range out.FailedFindings {
			failed[aws.ToString(f.Id)] = true
			if err == nil {
				err = &RefusedError{fmt.Sprintf("finding %s: %s: %s", aws.ToString(f.Id), aws.ToString(f.ErrorCode), aws.ToString(f.ErrorMessage))}
			}
		}
		imports = imports[n:]
	}
	return failed, err
}

// merge is what Security Hub knows after an import of which some failed: of
// these, what it knew before.
func merge(before, after []reported, failed map[string]bool) (out []reported) {
	for _, r := range after {
		if !failed[r.ID] {
			out = append(out, r)
		}
	}
	for _, r := range before {
		if failed[r.ID] {
			out = append(out, r)
		}
	}
	return out
}

// reported reads what Security Hub was told of an image.
func (h *hubSink) reported(ctx context.Context, e meta.Event) (list []reported, err error) {
	var packed []byte
	err = h.db.Read(ctx, func(tx *meta.Tx) (err error) {
		packed, err = tx.ReportedFindings(h.name, e)
		return err
	})
	if err != nil || packed == nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("read what the sink %s was told: %w", h.name, err)
	}
	text, err := io.ReadAll(z)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	return list, err
}

// keep remembers what Security Hub was told of an image.
func (h *hubSink) keep(ctx context.Context, e meta.Event, list []reported) error {
	var packed []byte
	if len(list) > 0 {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if err := errors.Join(json.NewEncoder(z).Encode(list), z.Close()); err != nil {
			return err
		}
		packed = b.Bytes()
	}
	return h.db.Update(context.WithoutCancel(ctx), func(tx *meta.Tx) error { return tx.PutReportedFindings(h.name, e, packed) })
}
