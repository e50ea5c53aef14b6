package ecrapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/awsjson"
	"berth/internal/blob"
	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/pullthrough"
	"berth/internal/registry"
	"berth/internal/scan/vulndb"
)

// An Authenticator checks the signature of a request.
type Authenticator interface {
	// Check refuses what no body could make right.
	Check(r *http.Request) error
	Verify(r *http.Request, body []byte) (sigv4.Identity, error)
}

// A TokenIssuer makes registry passwords.
type TokenIssuer interface {
	Issue(p access.Principal, region string, ttl time.Duration) (password string, expires time.Time, err error)
}

// Options are what the door is made of. All fields are required.
type Options struct {
	Registry     *registry.Registry
	Cache        *pullthrough.Cache
	Authenticate Authenticator
	Authorize    access.Authorizer
	Tokens       TokenIssuer
	Log          *slog.Logger
	Advisories   vulndb.Keeper // that scans know
	Home         string        // the account that the installation belongs to
	// Endpoint gives the base URL under which clients reach a registry, scheme
	// and host without a final slash.
	Endpoint func(meta.Scope) string
}

// Door answers ECR API requests.
type Door struct {
	Options
	routes map[string]route
	own    map[string]ownOperation
}

// New makes the door. It fails when a route has no operation in the model.
func New(o Options) (*Door, error) {
	d := &Door{Options: o, routes: routes(), own: ownOperations()}
	return d, checkRoutes(d.routes)
}

func checkRoutes(routes map[string]route) error {
	for name, rt := range routes {
		if _, ok := ecr.LookupOperation(name); !ok {
			return fmt.Errorf("route %s is not an operation of the ECR model", name)
		}
		if _, ok := ecr.LookupOperation(rt.action); rt.action != "" && !ok {
			return fmt.Errorf("route %s is allowed by %s, which is not an operation of the ECR model", name, rt.action)
		}
		if rt.locate == nil || rt.handle == nil {
			return fmt.Errorf("route %s does not say what it acts on or what it does", name)
		}
	}
	return nil
}

// A call is one authorised request.
type call struct {
	principal access.Principal
	scope     meta.Scope     // registry that the request is about
	region    string         // of the signature
	expires   time.Time      // when its credentials end; zero: never
	request   access.Request // that was allowed
	others    []string       // resources that the request is about besides
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	awsjson.Serve(w, r, d.Log, exception, func() ([]byte, error) {
		out, err := d.serve(w, r)
		if err != nil {
			return nil, err
		}
		return ecr.Encode(out)
	})
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	op, rt, known, offered := d.find(r.Header.Get("X-Amz-Target"))
	if !known {
		return nil, ecr.NewException(ecr.CodeUnknownOperation, "")
	}
	if !offered {
		return nil, ecr.NewException(ecr.CodeUnknownOperation, "The operation "+op.Name+" is not offered by this version of Berth")
	}
	if r.ContentLength < 0 || r.ContentLength > smallBody {
		if err := d.Authenticate.Check(r); err != nil {
			return nil, err
		}
	}
	body, err := readBody(w, r, op.MaxBody())
	if err != nil {
		return nil, err
	}
	id, err := d.Authenticate.Verify(r, body)
	if err != nil {
		return nil, err
	}
	in, err := op.Decode(body)
	if err != nil {
		return nil, err
	}
	c := call{principal: id.Principal, region: id.Region, expires: id.Expires}
	resource, err := rt.locate(&c, in)
	if err != nil {
		return nil, err
	}
	if rt.home {
		c.scope.Account = d.Home
	}
	action := op.Name
	if rt.action != "" {
		action = rt.action
	}
	c.request = access.Request{
		Principal: c.principal, Action: "ecr:" + action, Resource: resource, ResourceAccount: c.scope.Account,
		Call: access.CallOf(r, c.region), Tags: tagsOf(in), TagKeys: tagKeysOf(in),
	}
	if err := d.authorize(r.Context(), c); err != nil {
		return nil, err
	}
	return rt.handle(d, r.Context(), c, in)
}

// authorize asks whether the caller may do what it asks for, on all that it names.
func (d *Door) authorize(ctx context.Context, c call) error {
	if err := d.Authorize.Authorize(ctx, c.request); err != nil {
		return err
	}
	for _, resource := range c.others {
		c.request.Resource = resource
		if err := d.Authorize.Authorize(ctx, c.request); err != nil {
			return err
		}
	}
	return nil
}

// smallBody is what is read, in bytes, before the caller is looked at.
const smallBody = 64 << 10

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, &bodyError{err}
	}
	return body, nil
}

func tooLarge(limit int64) error {
	return ecr.NewException(ecr.CodeRequestEntityTooLarge, "The request body is larger than the limit of "+strconv.FormatInt(limit, 10)+" bytes")
}

// A bodyError is a client that went away or sent a broken body.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read the request body: " + e.err.Error() }

// exception finds the wire form of an error. What nobody knows is a fault of
// the server, and its text stays in the log.
func exception(err error) *ecr.Exception {
	var (
		wire       *ecr.Exception
		refused    *registry.Error
		constraint *ecr.ConstraintError
		serial     *ecr.SerializationError
		signature  *sigv4.Error
		denied     *access.DeniedError
		body       *bodyError
	)
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.As(err, &refused):
		f := refused.Form()
		return &ecr.Exception{Type: f.Exception, Message: refused.Message, Status: f.Status, Extra: refused.Extra}
	case errors.As(err, &constraint):
		return ecr.NewException(ecr.CodeInvalidParameter, constraint.Error())
	case errors.As(err, &serial):
		return ecr.NewException(ecr.CodeSerialization, serial.Error())
	case errors.As(err, &signature):
		return &ecr.Exception{Type: signature.Code, Message: signature.Message, Status: signature.Status}
	case errors.As(err, &denied):
		return ecr.NewException(ecr.CodeAccessDenied, denied.Error())
	case errors.As(err, &body):
		return &ecr.Exception{Type: "RequestTimeoutException", Message: "The request body did not arrive.", Status: http.StatusRequestTimeout}
	case errors.Is(err, blob.ErrNoSpace), errors.Is(err, meta.ErrNoSpace):
		return &ecr.Exception{Type: ecr.CodeServer, Message: "The registry has no space left.", Status: http.StatusInsufficientStorage}
	case errors.Is(err, meta.ErrText):
		return ecr.NewException(ecr.CodeInvalidParameter, "A text of the request has a NUL character.")
	case errors.Is(err, meta.ErrUnavailable):
		return ecr.NewException(ecr.CodeServiceUnavailable, "The registry cannot reach its database now.")
	case errors.Is(err, blob.ErrUnavailable):
		return ecr.NewException(ecr.CodeServiceUnavailable, "The registry cannot reach its blob store now.")
	case errors.Is(err, context.Canceled):
		return ecr.NewException(ecr.CodeServiceUnavailable, "The request was cancelled.")
	default:
		return ecr.NewException(ecr.CodeServer, "The registry met an internal error; its log says more under this request's id.")
	}
}
