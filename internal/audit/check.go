package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"berth/internal/blob"
	"berth/internal/kms"
	"berth/internal/meta"
	"berth/internal/seal"
	"berth/internal/upload"
)

// Stores are what is looked after. All fields are required.
type Stores struct {
	DB    *meta.DB
	Blobs blob.Store
	Ring  *seal.Ring
	Log   *slog.Logger
	Now   func() time.Time
	// Holder is who claims work: one that comes back after a crash takes its
	// claim over at once. Empty: one that will not.
	Holder string
}

// An Auditor looks after stores. It is safe for concurrent use.
type Auditor struct {
	Stores
	uploads *upload.Receiver
}

// New makes an auditor.
func New(s Stores) *Auditor {
	return &Auditor{Stores: s, uploads: upload.New(s.DB, s.Blobs, s.Ring, s.Now)}
}

// pageSize bounds what one transaction looks at.
const pageSize = 500

// manifestPage does so for rows that hold manifests, of up to 4 MiB each.
const manifestPage = 20

// maxFindings bounds how many findings a report lists; it counts them all.
const maxFindings = 10_000

// OrphanAge is how old bytes are, by default, before they count as left over:
// longer than anybody takes from the first byte to the row.
const OrphanAge = 24 * time.Hour

// Options say how to check.
type Options struct {
	Deep   bool // read every blob whole and compare its digest
	Repair bool // put right what can be put right
	// OrphanAge: 0 is the default, negative none at all, which is right only
	// while nobody pushes.
	OrphanAge time.Duration
	Progress  func(step string, done int) // may be nil
}

// Kinds of findings.
const (
	MissingBlob      = "missing-blob"      // a row whose bytes are not in the store
	DamagedBlob      = "damaged-blob"      // bytes that are not what was pushed
	BadManifest      = "bad-manifest"      // does not open, or has another digest
	MissingReference = "missing-reference" // an image needs what its repository does not have
	LooseMember      = "loose-member"      // a repository's blob that is no blob
	BadDataKey       = "bad-data-key"      // does not unwrap
	UnusableKey      = "unusable-key"      // its KMS key is disabled or cannot be reached
	OrphanedObject   = "orphaned-object"   // bytes that nothing refers to
	LostUpload       = "lost-upload"       // a session whose bytes are gone
)

// A Finding is one thing that is wrong.
type Finding struct {
	Kind       string `json:"kind"`
	Repository string `json:"repository,omitempty"`
	Digest     string `json:"digest,omitempty"`
	Location   string `json:"location,omitempty"` // in the blob store, or which key or session
	Detail     string `json:"detail"`
	Action     string `json:"action,omitempty"` // what repair did
	// Settled: nothing more is to be done. Blobs that were marked are not: they
	// wait for a push.
	Settled bool `json:"settled"`
}

// A Report says what a check saw.
type Report struct {
	Blobs      int       `json:"blobs"`
	Bytes      int64     `json:"bytes"` // of those blobs, before sealing
	Manifests  int       `json:"manifests"`
	References int       `json:"references"`
	Members    int       `json:"members"`
	DataKeys   int       `json:"dataKeys"`
	Uploads    int       `json:"uploads"`
	Objects    int       `json:"objects"`
	Unread     int       `json:"unread"` // blobs and manifests whose key cannot be used now
	Problems   int       `json:"problems"`
	Settled    int       `json:"settled"` // of the problems
	Findings   []Finding `json:"findings"`
}

// Clean tells whether nothing is wrong any more.
func (r Report) Clean() bool { return r.Problems == r.Settled }

func (r *Report) add(f Finding) {
	r.Problems++
	if f.Settled {
		r.Settled++
	}
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, f)
	}
}

// check is one run.
type check struct {
	*Auditor
	Options
	Report
	closed   map[int64]bool         // data keys that cannot be used
	suspects map[string]meta.Upload // sessions without staged bytes
}

// Check compares bytes and rows with each other. The report is good as far as
// it goes when there is an error, which says why it could not go on.
func (a *Auditor) Check(ctx context.Context, o Options) (Report, error) {
	if o.OrphanAge == 0 {
		o.OrphanAge = OrphanAge
	}
	c := &check{Auditor: a, Options: o, closed: map[int64]bool{}, suspects: map[string]meta.Upload{}}
	c.Findings = []Finding{}
	steps := []struct {
		name string
		run  func(context.Context, func(int)) error
	}{
		{"data keys", c.dataKeys}, {"blobs", c.blobs}, {"manifests", c.manifests}, {"references", c.references},
		{"members", c.members}, {"uploads", c.sessions}, {"objects", c.objects}, {"lost uploads", c.lostUploads},
	}
	for _, s := range steps {
		done := 0
		err := s.run(ctx, func(n int) {
			done += n
			if c.Progress != nil {
				c.Progress(s.name, done)
			}
		})
		if err != nil {
			return c.Report, fmt.Errorf("check the %s: %w", s.name, err)
		}
	}
	return c.Report, nil
}

// pages reads pages with next until one is empty.
func pages[T any](ctx context.Context, db *meta.DB, next func(*meta.Tx) ([]T, error), each func(T) error, done func(int)) error {
	for {
		var page []T
		err := db.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = next(tx)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, v := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := each(v); err != nil {
				return err
			}
		}
		done(len(page))
	}
}

func (c *check) dataKeys(ctx context.Context, done func(int)) error {
	var after int64
	return pages(ctx, c.DB, func(tx *meta.Tx) ([]meta.DataKey, error) { return tx.DataKeys(after, pageSize) }, func(k meta.DataKey) error {
		after = k.ID
		c.Report.DataKeys++
		_, err := c.Ring.Derive(ctx, k.Domain, k.ID, "audit", 16)
		if err == nil || errors.Is(err, seal.ErrUnknownKey) { // it was retired since the page was read
			return nil
		}
		var refused *kms.Error
		if !errors.As(err, &refused) {
			return err
		}
		c.closed[k.ID] = true
		f := Finding{Kind: BadDataKey, Location: fmt.Sprintf("data key %d of %s", k.ID, k.Domain), Detail: err.Error()}
		switch refused.Code {
		case kms.Disabled, kms.InvalidState, kms.AccessDenied, kms.KeyUnavailable:
			f.Kind, f.Settled, f.Action = UnusableKey, true, "not looked at: enable the KMS key first"
		}
		c.add(f)
		return nil
	}, done)
}
