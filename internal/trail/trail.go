package trail

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"berth/internal/access"
)

// header names a request in its answer, as AWS's services do.
const header = "x-amzn-RequestId"

// RequestID names the request that is being answered, also to the client.
func RequestID(w http.ResponseWriter) string {
	id := w.Header().Get(header)
	if id == "" {
		id = uuid.NewString()
		w.Header().Set(header, id)
	}
	return id
}

// A Record is one line of the log.
type Record struct {
	Time      time.Time  `json:"time"` // when the request came
	RequestID string     `json:"requestId"`
	Door      string     `json:"door"` // ecr, iam (STS too), kms, secretsmanager or oci
	SourceIP  string     `json:"sourceIp,omitempty"`
	UserAgent string     `json:"userAgent,omitempty"`
	Method    string     `json:"method"`
	Path      string     `json:"path"` // without the query
	Status    int        `json:"status"`
	Millis    int64      `json:"durationMs"` // until the answer was complete
	Principal string     `json:"principal,omitempty"`
	AccessKey string     `json:"accessKeyId,omitempty"`
	Decisions []Decision `json:"decisions"` // none: nobody was asked, or the caller is unknown
}

// A Decision is one answer of the authorizer.
type Decision struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Decision string `json:"decision"` // allow, deny or error
	Reason   string `json:"reason,omitempty"`
}

// Limits of what a client can put into a line, in bytes.
const (
	maxPath  = 2 << 10
	maxAgent = 256
)

// A Log is where records go.
type Log struct {
	out io.Writer
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	failed bool // the last line could not be written, and that was said
}

// New makes a log on a writer that gets one line with each call.
func New(out io.Writer, log *slog.Logger, now func() time.Time) *Log {
	return &Log{out: out, log: log, now: now}
}

type recordKey struct{}

// current is the record of the request that a context belongs to.
type current struct {
	mu sync.Mutex
	Record
}

// Begin starts the record of a request that a door is to answer: the door gets
// the request returned, and finish is called with the status when it is done. A
// nil log records nothing.
func (l *Log) Begin(door string, w http.ResponseWriter, r *http.Request) (_ *http.Request, finish func(status int)) {
	id := RequestID(w)
	if l == nil {
		return r, func(int) {}
	}
	call := access.CallOf(r, "")
	c := &current{Record: Record{
		Time: l.now(), RequestID: id, Door: door, SourceIP: call.SourceIP, UserAgent: cut(call.UserAgent, maxAgent),
		Method: cut(r.Method, maxAgent), Path: cut(r.URL.Path, maxPath), Decisions: []Decision{},
	}}
	return r.WithContext(context.WithValue(r.Context(), recordKey{}, c)), func(status int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.Status, c.Millis = status, l.now().Sub(c.Time).Milliseconds()
		l.write(c.Record)
	}
}

func cut(s string, most int) string {
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// write writes one line. Only the first of several failures is reported.
func (l *Log) write(r Record) {
	line, err := json.Marshal(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	if err != nil && !l.failed {
		l.log.Error("the audit log cannot be written: requests go on without it", "err", err)
	}
	l.failed = err != nil
}

// Authorizer records what an authorizer decides.
func Authorizer(next access.Authorizer) access.Authorizer { return authorizer{next} }

type authorizer struct{ next access.Authorizer }

// Authorize implements [access.Authorizer].
func (a authorizer) Authorize(ctx context.Context, req access.Request) error {
	err := a.next.Authorize(ctx, req)
	c, ok := ctx.Value(recordKey{}).(*current)
	if !ok {
		return err
	}
	d := Decision{Action: req.Action, Resource: req.Resource, Decision: "allow"}
	var denied *access.DeniedError
	switch {
	case errors.As(err, &denied):
		d.Decision, d.Reason = "deny", denied.Error()
	case err != nil:
		d.Decision, d.Reason = "error", "no decision could be made; the server's log says why"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Principal, c.AccessKey = req.Principal.ARN, req.Principal.AccessKeyID
	c.Decisions = append(c.Decisions, d)
	return err
}
