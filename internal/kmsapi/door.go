// Package kmsapi is the door of the part of AWS KMS that users of ECR need:
// AWS JSON 1.1 over POST /, told apart by the X-Amz-Target TrentService.*.
//
// # Guarantees
//
//   - Every request is verified, and authorised as kms:<Operation> on each key
//     and alias that it touches, before anything happens; a route without an
//     operation's name keeps the door from being made.
//   - A request reaches keys of its signature's region only, and of another
//     account only by the operations that AWS KMS lets cross accounts (KMS API
//     reference, "Cross-account use", operation by operation).
//   - Members that the door does not know are ignored; those that it knows are
//     checked before the caller's permissions are, as AWS does.
//   - Bodies and lists are bounded.
//
// Keys are symmetric and made by KMS itself. What else AWS KMS has (asymmetric
// and HMAC keys, imported material, key stores, replicas, grants) is refused
// with its UnsupportedOperationException or is an unknown operation.
package kmsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/awsjson"
	"berth/internal/ecr"
	"berth/internal/kms"
	"berth/internal/kms/local"
	"berth/internal/meta"
)

// TargetPrefix is what X-Amz-Target begins with, before the operation (the
// service model of AWS KMS, targetPrefix).
const TargetPrefix = "TrentService."

// service is the signing name and the prefix of actions.
const service = "kms"

// maxBody bounds a request body, in bytes: a policy of 32 KiB in which JSON
// escapes everything, with room.
const maxBody = 256 << 10

// Codes beyond those of the packages below.
const (
	codeValidation    = local.Validation
	codeInvalidMarker = "InvalidMarkerException"
	codeIncorrectKey  = "IncorrectKeyException"
	codeDryRun        = "DryRunOperationException"
	codeInternal      = "KMSInternalException"
)

// A Verifier checks the signature of a request for one service.
type Verifier func(service string, r *http.Request, body []byte) (sigv4.Identity, error)

// Options are what the door is made of. All fields are required.
type Options struct {
	Service   *local.KMS
	Verify    Verifier
	Authorize access.Authorizer
	Log       *slog.Logger
}

// Door answers KMS requests.
type Door struct {
	Options
	routes map[string]route
}

// A route is one operation.
type route struct {
	operation string
	// crossAccount operations may name a key of another account.
	crossAccount bool
	// decode reads the whole request, so that what is wrong with it is told
	// before anything is done.
	decode func(*input) action
}

// An action is what a decoded request asks for.
type action struct {
	keys    []string // names of keys; run gets their ARNs in this order
	aliases []string // names of aliases that are made, moved or removed
	sealed  []byte   // a ciphertext whose key is meant when keys is empty
	context kms.Context
	tags    map[string]string // that the request sets
	tagKeys []string          // of tags that it removes
	// everything: permission is asked for on "*", not on the keys.
	everything bool
	run        func(*call) (any, error)
}

// A call is one authorised request.
type call struct {
	ctx       context.Context
	kms       *local.KMS
	principal access.Principal
	scope     meta.Scope
	arns      []string // of the action's keys
	came      access.Call
	action    string // kms:<Operation>
	context   kms.Context
	tags      map[string]string
	tagKeys   []string
}

// asks is the question whether the caller may act on a resource.
func (c *call) asks(resource, account string) access.Request {
	req := access.Request{
		Principal: c.principal, Action: c.action, Resource: resource, ResourceAccount: account, Call: c.came,
		ServiceKeys: map[string][]string{}, TagKeys: c.tagKeys,
	}
	for k, v := range c.tags {
		req.Tags = append(req.Tags, access.Tag{Key: k, Value: v})
	}
	for name, value := range c.context {
		req.ServiceKeys["kms:encryptioncontext:"+strings.ToLower(name)] = []string{value}
		req.ServiceKeys["kms:encryptioncontextkeys"] = append(req.ServiceKeys["kms:encryptioncontextkeys"], name)
	}
	return req
}

// New makes the door. It fails when a route is not an operation.
func New(o Options) (*Door, error) {
	table, err := index(routes())
	return &Door{Options: o, routes: table}, err
}

func index(routes []route) (map[string]route, error) {
	name := regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	table := make(map[string]route, len(routes))
	for i, rt := range routes {
		_, twice := table[rt.operation]
		if !name.MatchString(rt.operation) || twice || rt.decode == nil {
			return nil, fmt.Errorf("route %d (%q) does not name an operation of its own and what it does", i, rt.operation)
		}
		table[rt.operation] = rt
	}
	return table, nil
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	awsjson.Serve(w, r, d.Log, exception, func() ([]byte, error) {
		out, err := d.serve(w, r)
		if err != nil || out == nil { // an operation without an output answers no body
			return nil, err
		}
		return json.Marshal(out)
	})
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), TargetPrefix)
	rt, known := d.routes[operation]
	if !ok || !known {
		return nil, &ecr.Exception{Type: ecr.CodeUnknownOperation, Message: "This version of Berth does not offer the operation.", Status: http.StatusBadRequest}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, ecr.NewException(ecr.CodeRequestEntityTooLarge, "The request body is larger than the limit of "+strconv.Itoa(maxBody)+" bytes or did not arrive whole.")
	}
	who, err := d.Verify(service, r, body)
	if err != nil {
		return nil, err
	}
	in := read(body)
	a := rt.decode(in)
	if err := in.err(); err != nil {
		return nil, err
	}
	c := &call{
		ctx: r.Context(), kms: d.Service, principal: who.Principal, came: access.CallOf(r, who.Region),
		scope: meta.Scope{Account: who.Principal.Account, Region: who.Region}, action: service + ":" + rt.operation, context: a.context,
		tags: a.tags, tagKeys: a.tagKeys,
	}
	if err := d.admit(c, rt, a); err != nil {
		return nil, err
	}
	out, err := a.run(c)
	if errors.Is(err, local.ErrManaged) {
		// The policy of the key allows its service, and users only to read.
		return nil, c.denied(strings.Join(c.arns, ", "))
	}
	return out, err
}

// admit finds the keys of an action and asks whether the caller may.
func (d *Door) admit(c *call, rt route, a action) error {
	var targets []target
	for _, name := range a.keys {
		arn, account, err := d.Service.Locate(c.ctx, c.scope, name)
		if err != nil {
			return err
		}
		c.arns = append(c.arns, arn)
		targets = append(targets, target{arn, account})
	}
	if len(a.keys) == 0 && a.sealed != nil {
		arn, account, err := d.Service.CiphertextKey(c.ctx, a.sealed)
		if err != nil {
			return err
		}
		c.arns = append(c.arns, arn)
		targets = append(targets, target{arn, account})
	}
	for _, t := range targets {
		if t.account != c.scope.Account && !rt.crossAccount {
			return c.denied(t.arn)
		}
	}
	for _, name := range a.aliases {
		targets = append(targets, target{local.AliasARN(meta.KMSAlias{Scope: c.scope, Name: name}), c.scope.Account})
	}
	if a.everything {
		targets = []target{{"*", c.scope.Account}}
	}
	if len(targets) == 0 {
		return fmt.Errorf("%s does not say what it acts on", rt.operation)
	}
	for _, t := range targets {
		if err := d.Authorize.Authorize(c.ctx, c.asks(t.arn, t.account)); err != nil {
			return err
		}
	}
	if rt.operation == "CreateKey" && len(c.tags) > 0 { // KMS API reference, CreateKey, Tags
		req := c.asks("*", c.scope.Account)
		req.Action = service + ":TagResource"
		return d.Authorize.Authorize(c.ctx, req)
	}
	return nil
}

type target struct{ arn, account string }

func (c *call) denied(resource string) error {
	return &access.DeniedError{Principal: c.principal, Action: c.action, Resource: resource, Cause: access.NoResourceAllow}
}

// exception finds the wire form of an error. What nobody knows is a fault of
// the server, and its text stays in the log.
func exception(err error) *ecr.Exception {
	var (
		wire      *ecr.Exception
		refused   *kms.Error
		signature *sigv4.Error
		denied    *access.DeniedError
	)
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.As(err, &refused):
		status := http.StatusBadRequest
		if refused.Code == kms.KeyUnavailable {
			status = http.StatusInternalServerError // the model calls it a fault of the server
		}
		return &ecr.Exception{Type: refused.Code, Message: refused.Message, Status: status}
	case errors.As(err, &signature):
		return &ecr.Exception{Type: signature.Code, Message: signature.Message, Status: signature.Status}
	case errors.As(err, &denied):
		return &ecr.Exception{Type: kms.AccessDenied, Message: denied.Error(), Status: http.StatusBadRequest}
	case errors.Is(err, meta.ErrText):
		return ecr.NewException(codeValidation, "A text of the request has a NUL character.")
	case errors.Is(err, meta.ErrUnavailable):
		return ecr.NewException(ecr.CodeServiceUnavailable, "The server cannot reach its database now.")
	case errors.Is(err, context.Canceled):
		return ecr.NewException(ecr.CodeServiceUnavailable, "The request was cancelled.")
	default:
		return &ecr.Exception{Type: codeInternal, Message: "The server met an internal error; its log says more under this request's id.", Status: http.StatusInternalServerError}
	}
}
