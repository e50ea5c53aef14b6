package ociapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"berth/internal/access"
	"berth/internal/access/token"
	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/pullthrough"
	"berth/internal/registry"
)

// User is the user name of every login.
const User = "AWS"

// An Authenticator turns a password into its principal. It fails with
// token.ErrExpired, token.ErrInvalid or token.ErrThrottled, or with a fault of its own.
type Authenticator interface {
	Password(r *http.Request, password string) (access.Principal, error)
}

// Options are what the door is made of. All fields but Cache are required.
type Options struct {
	Registry     *registry.Registry
	Cache        *pullthrough.Cache // nil: nothing is pulled through
	Authenticate Authenticator
	Authorize    access.Authorizer
	Log          *slog.Logger
	// Scope tells the registry that a request's host stands for.
	Scope func(host string) meta.Scope
	// Endpoint gives the base URL under which clients reach a registry, scheme
	// and host without a final slash.
	Endpoint func(meta.Scope) string
}

// Door answers Distribution API requests.
type Door struct {
	Options
	routes  map[routeKey]route
	buffers *buffers
}

// New makes the door. It fails when a route has no operation of ECR by which
// it could be authorised.
func New(o Options) (*Door, error) {
	d := &Door{Options: o, routes: routes(), buffers: newBuffers()}
	return d, checkRoutes(d.routes)
}

func checkRoutes(routes map[routeKey]route) error {
	for k, rt := range routes {
		if k.endpoint == base {
			continue // asks for credentials and nothing else
		}
		if _, ok := ecr.LookupOperation(rt.operation); !ok {
			return fmt.Errorf("route %s of endpoint %d has no ECR operation", k.method, k.endpoint)
		}
		if _, ok := ecr.LookupOperation(rt.or); rt.or != "" && !ok {
			return fmt.Errorf("route %s of endpoint %d is permitted by %s too, which is no ECR operation", k.method, k.endpoint, rt.or)
		}
	}
	return nil
}

// A request is one parsed and authorised request.
type request struct {
	*http.Request
	target
	scope     meta.Scope
	principal access.Principal
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if err := d.serve(w, r); err != nil {
		d.fail(w, r, err)
	}
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request) error {
	t, ok := parsePath(r.URL.Path)
	req := &request{Request: r, target: t, scope: d.Scope(r.Host)}
	if ok && d.hasTicket(req) {
		return getBlob(d, w, req)
	}
	if err := d.authenticate(req); err != nil {
		return err
	}
	if !ok {
		return &wireError{http.StatusNotFound, "NAME_UNKNOWN", "The path is not one of the Distribution API"}
	}
	rt, ok := d.routes[routeKey{t.endpoint, r.Method}]
	if !ok {
		return &wireError{http.StatusMethodNotAllowed, "UNSUPPORTED", "The method " + r.Method + " is not supported here"}
	}
	if t.name != "" || t.endpoint > catalog {
		if !registry.ValidName(t.name) {
			return &wireError{http.StatusBadRequest, "NAME_INVALID",
				"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''"}
		}
	}
	if d.Cache != nil && isPull(t.endpoint, r.Method) {
		var err error
		if req.name, err = d.Cache.Name(r.Context(), req.scope, t.name); err != nil {
			return err
		}
		t.name = req.name
	}
	if t.endpoint != base {
		err := d.authorize(req, rt.operation, t.name)
		if access.IsDenied(err) && rt.or != "" && d.authorize(req, rt.or, t.name) == nil {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return rt.handle(d, w, req)
}

// authenticate finds the principal of a request's Basic credentials.
func (d *Door) authenticate(r *request) error {
	user, password, ok := r.BasicAuth()
	if !ok || user != User || password == "" {
		return errUnauthorized
	}
	p, err := d.Authenticate.Password(r.Request, password)
	if errors.Is(err, token.ErrInvalid) {
		return errUnauthorized
	}
	r.principal = p
	return err
}

// authorize asks for one operation on one repository, or on the registry.
func (d *Door) authorize(r *request, operation, repository string) error {
	return d.Authorize.Authorize(r.Context(), d.question(r, operation, repository))
}

// question is what authorize asks.
func (d *Door) question(r *request, operation, repository string) access.Request {
	if repository == "" {
		repository = "*"
	}
	return access.Request{
		Principal: r.principal, Action: "ecr:" + operation,
		Resource: registry.ARN(r.scope, repository), ResourceAccount: r.scope.Account,
		Call: access.CallOf(r.Request, r.scope.Region),
	}
}

// hasTicket reports whether a download URL's ticket takes the place of credentials.
func (d *Door) hasTicket(r *request) bool {
	if r.endpoint != blobs || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return false
	}
	t := r.URL.Query().Get("ticket")
	if t == "" {
		return false
	}
	dg, err := parseDigest(r.ref)
	return err == nil && d.Registry.CheckTicket(t, r.scope, r.name, dg)
}
