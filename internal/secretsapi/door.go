// Package secretsapi is the door of the part of AWS Secrets Manager that users
// of ECR need: AWS JSON 1.1 over POST /, told apart by the X-Amz-Target
// secretsmanager.*.
//
// # Guarantees
//
//   - Every request is verified, and authorised as secretsmanager:<Operation> on
//     the secret that it touches, before anything happens or is told of it; one
//     that uses a KMS key needs the right to that, too.
//   - A secret of another account is reached by nobody: secrets have no resource
//     policies here, and setting one is refused as an operation that is not offered.
//   - Members that the door does not know are ignored; bodies and lists are bounded.
//
// Rotation and replicas of secrets, and random passwords, are not offered.
package secretsapi

import (
	"bytes"
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
	"unicode/utf8"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/awsjson"
	"berth/internal/ecr"
	"berth/internal/kms"
	"berth/internal/meta"
	"berth/internal/secrets"
)

// TargetPrefix is what X-Amz-Target begins with, before the operation (the
// service model of Secrets Manager, targetPrefix).
const TargetPrefix = "secretsmanager."

// service is the signing name and the prefix of actions.
const service = "secretsmanager"

// maxBody bounds a request body, in bytes: a value of 64 KiB in which JSON
// escapes everything, with room.
const maxBody = 512 << 10

// Codes beyond those of the packages below.
const (
	codeValidation = "ValidationException"
	codeInternal   = "InternalServiceError"
	codeDenied     = "AccessDeniedException"
)

// A Verifier checks the signature of a request for one service.
type Verifier func(service string, r *http.Request, body []byte) (sigv4.Identity, error)

// Options are what the door is made of. All fields are required.
type Options struct {
	Store     *secrets.Store
	Keys      kms.Provider // of the KMS keys that secrets name, to ask who may use them
	Verify    Verifier
	Authorize access.Authorizer
	Log       *slog.Logger
}

// Door answers Secrets Manager requests.
type Door struct {
	Options
	routes map[string]route
}

// A route is one operation: it reads a request and says what it asks for.
type route func(*input) action

// An action is what a decoded request asks for.
type action struct {
	secret     string        // name or ARN of the secret that it touches
	create     string        // name of a secret that it makes
	everything bool          // permission is asked for on "*"
	tags       []access.Tag  // that it sets
	tagKeys    []string      // of the tags that it removes
	kms        string        // action on the KMS key of the secret, when it has one
	key        func() string // KMS key that the secret gets; nil or "": it keeps its own
	run        func(*call) (any, error)
}

// A call is one authorised request.
type call struct {
	ctx       context.Context
	store     *secrets.Store
	principal access.Principal
	scope     meta.Scope
	secret    meta.Secret // of the action; of one that is made, only its ARN is set
	came      access.Call
}

// New makes the door. It fails when a route is not an operation.
func New(o Options) (*Door, error) {
	table := routes()
	return &Door{Options: o, routes: table}, check(table)
}

var operationName = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

func check(table map[string]route) error {
	for name, rt := range table {
		if !operationName.MatchString(name) || rt == nil {
			return fmt.Errorf("the route %q does not name an operation and what it does", name)
		}
	}
	return nil
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	awsjson.Serve(w, r, d.Log, exception, func() ([]byte, error) {
		out, err := d.serve(w, r)
		if err != nil {
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
	in := &input{}
	if len(bytes.TrimSpace(body)) > 0 && (!utf8.Valid(body) || json.Unmarshal(body, in) != nil) {
		return nil, &ecr.Exception{Type: ecr.CodeSerialization, Message: "The request body is not a JSON object of the operation's form.", Status: http.StatusBadRequest}
	}
	a := rt(in)
	if err := in.err(); err != nil {
		return nil, err
	}
	c := &call{
		ctx: r.Context(), store: d.Store, principal: who.Principal, came: access.CallOf(r, who.Region),
		scope: meta.Scope{Account: who.Principal.Account, Region: who.Region},
	}
	if err := d.admit(c, operation, a); err != nil {
		return nil, err
	}
	return a.run(c)
}

// admit finds the secret of an action and asks whether the caller may. That there
// is no such secret is told to those who may ask for it.
func (d *Door) admit(c *call, operation string, a action) (missing error) {
	resource, account := "*", c.scope.Account
	switch {
	case a.create != "":
		c.secret = meta.Secret{ARN: secrets.NewARN(c.scope, a.create), Scope: c.scope, Name: a.create}
		resource = c.secret.ARN
	case a.secret != "":
		c.secret, missing = d.Store.Find(c.ctx, c.scope, a.secret)
		var refused *secrets.Error
		if missing != nil && !errors.As(missing, &refused) {
			return missing
		}
		resource, account = c.secret.ARN, c.secret.Scope.Account
	case !a.everything:
		return fmt.Errorf("%s does not say what it acts on", operation)
	}
	req := access.Request{
		Principal: c.principal, Action: service + ":" + operation, Resource: resource, ResourceAccount: account, Call: c.came,
		Tags: a.tags, TagKeys: a.tagKeys,
	}
	err := d.Authorize.Authorize(c.ctx, req)
	if err == nil && a.create != "" && len(a.tags) > 0 { // Secrets Manager API reference, CreateSecret, required permissions
		req.Action = service + ":TagResource"
		err = d.Authorize.Authorize(c.ctx, req)
	}
	if err != nil || missing != nil {
		return errors.Join(err, missing)
	}
	return d.admitKey(c, a)
}

// admitKey asks whether the caller may use the KMS key of the secret (Secrets
// Manager User Guide, "Permissions for the KMS key").
func (d *Door) admitKey(c *call, a action) error {
	key := c.secret.KMSKey
	if a.key != nil && a.key() != "" {
		key = a.key()
	}
	if a.kms == "" || key == "" || key == secrets.ServiceKey {
		return nil
	}
	arn, err := d.Keys.Resolve(c.ctx, c.secret.Scope.Account, c.secret.Scope.Region, key)
	var refused *kms.Error
	if errors.As(err, &refused) {
		return nil // the operation says in its own words what is wrong with the key
	}
	if err != nil {
		return err
	}
	return d.Authorize.Authorize(c.ctx, access.Request{
		Principal: c.principal, Action: a.kms, Resource: arn, ResourceAccount: accountOf(arn, c.scope.Account), Call: c.came,
	})
}

func accountOf(arn, otherwise string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && access.IsAccountID(parts[4]) {
		return parts[4]
	}
	return otherwise
}

// exception finds the wire form of an error. What nobody knows is a fault of
// the server, and its text stays in the log.
func exception(err error) *ecr.Exception {
	var (
		wire      *ecr.Exception
		refused   *secrets.Error
		key       *kms.Error
		signature *sigv4.Error
		denied    *access.DeniedError
	)
	bad := func(code, message string) *ecr.Exception {
		return &ecr.Exception{Type: code, Message: message, Status: http.StatusBadRequest}
	}
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.As(err, &denied): // before what is missing, which only those learn who may
		return bad(codeDenied, denied.Error())
	case errors.As(err, &refused):
		return bad(refused.Code, refused.Message)
	case errors.As(err, &key):
		return bad(secrets.EncryptionFailure, key.Message)
	case errors.As(err, &signature):
		return &ecr.Exception{Type: signature.Code, Message: signature.Message, Status: signature.Status}
	case errors.Is(err, meta.ErrText):
		return bad(codeValidation, "A text of the request has a NUL character.")
	case errors.Is(err, meta.ErrUnavailable):
		return ecr.NewException(ecr.CodeServiceUnavailable, "The server cannot reach its database now.")
	case errors.Is(err, context.Canceled):
		return ecr.NewException(ecr.CodeServiceUnavailable, "The request was cancelled.")
	default:
		return &ecr.Exception{Type: codeInternal, Message: "The server met an internal error; its log says more under this request's id.", Status: http.StatusInternalServerError}
	}
}
