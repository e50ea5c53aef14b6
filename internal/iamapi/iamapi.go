// Package iamapi is the door of the parts of AWS STS and IAM that users of ECR
// need: the AWS Query protocol, form-encoded over POST /, answered in XML.
//
// # Guarantees
//
//   - Every request but sts:AssumeRoleWithWebIdentity, whose token stands for a
//     signature, is verified, and authorised as iam:<Operation> on the ARN of
//     what it acts on, before anything happens. sts:GetCallerIdentity,
//     sts:GetSessionToken and sts:GetAccessKeyInfo need no permission (STS API
//     reference); operations that begin with Berth are for the root user of the
//     home account alone.
//   - A request reaches entities of its caller's account only, but for
//     sts:AssumeRole and sts:AssumeRoleWithWebIdentity.
//   - Bodies and lists are bounded.
package iamapi

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/iam"
	"berth/internal/meta"
	"berth/internal/trail"
)

// maxBody bounds a request body, in bytes.
const maxBody = 256 << 10

// A Verifier checks the signature of a request for one service.
type Verifier func(service string, r *http.Request, body []byte) (sigv4.Identity, error)

// Guesses slows down sources whose credentials are wrong too often.
type Guesses interface {
	// Spent reports whether the source of a request is not heard now.
	Spent(r *http.Request) bool
	// Failed counts a failure of its source.
	Failed(r *http.Request)
}

// Options are what the door is made of. All fields are required.
type Options struct {
	Verify    Verifier
	Guesses   Guesses
	Authorize access.Authorizer
	Explain   Explainer // of the same decisions
	Store     *iam.Store
	Home      string // the home account
	Log       *slog.Logger
}

// Door answers STS and IAM requests.
type Door struct {
	Options
	actions map[string]action
}

// Services, by their signing names, which are the prefixes of actions too.
const (
	stsService = "sts"
	iamService = "iam"
	unsigned   = "" // of STS, for those who have no key yet
)

// An action is one operation of one service.
type action struct {
	service string
	// resource names what the operation acts on; nil: it needs no permission, or
	// asks for it itself.
	resource func(c *call) (string, error)
	handle   func(c *call) (any, error)
}

// xmlns is the namespace of answers, from the services' models.
func (a action) xmlns() string {
	if a.service != iamService {
		return "https://sts.amazonaws.com/doc/2011-06-15/"
	}
	return "https://iam.amazonaws.com/doc/2010-05-08/"
}

// A call is one verified request.
type call struct {
	*Door
	ctx    context.Context
	caller access.Principal
	from   access.Call
	form   url.Values

	request *http.Request
}

// New makes the door.
func New(o Options) *Door { return &Door{Options: o, actions: actions()} }

// An apiError is a refusal in the Query protocol.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := trail.RequestID(w)
	w.Header().Set("Content-Type", "text/xml")
	out, ns, err := d.serve(w, r)
	if err != nil {
		d.fail(w, r, id, ns, err)
		return
	}
	d.write(w, r, http.StatusOK, out(id))
}

// serve gives a function from the request id to the answer.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) (func(id string) any, string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, "", &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is larger than the limit or did not arrive whole."}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, "", &apiError{http.StatusBadRequest, "MalformedQueryString", "The request body is not a form."}
	}
	name := form.Get("Action")
	a, ok := d.actions[name]
	if !ok {
		return nil, "", &apiError{http.StatusBadRequest, "InvalidAction", "Could not find operation " + name + " for version " + form.Get("Version")}
	}
	var who sigv4.Identity
	if a.service != unsigned {
		if who, err = d.Verify(a.service, r, body); err != nil {
			return nil, a.xmlns(), err
		}
	}
	c := &call{Door: d, ctx: r.Context(), caller: who.Principal, from: access.CallOf(r, who.Region), form: form, request: r}
	if a.resource != nil {
		resource, err := a.resource(c)
		if err == nil {
			err = c.allowed(a.service, name, resource)
		}
		if err != nil {
			return nil, a.xmlns(), err
		}
	}
	result, err := a.handle(c)
	return func(id string) any { return response{name, a.xmlns(), result, id} }, a.xmlns(), err
}

// allowed asks whether the caller's own side allows an operation.
func (c *call) allowed(service, name, resource string) error {
	q, err := c.asked(service+":"+name, resource)
	if err != nil {
		return err
	}
	if err = c.Authorize.Authorize(c.ctx, q); err == nil && len(q.Tags) > 0 && tagging(name) != "" {
		q.Action = service + ":" + tagging(name)
		err = c.Authorize.Authorize(c.ctx, q)
	}
	return err
}

// A response is <NameResponse><NameResult>…</NameResult><ResponseMetadata>….
type response struct {
	name, namespace string
	result          any
	requestID       string
}

// MarshalXML implements xml.Marshaler.
func (r response) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	start := xml.StartElement{
		Name: xml.Name{Local: r.name + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: r.namespace}},
	}
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if r.result == nil { // an operation without an output has no result
		return r.end(e, start)
	}
	if err := e.EncodeElement(r.result, xml.StartElement{Name: xml.Name{Local: r.name + "Result"}}); err != nil {
		return err
	}
	return r.end(e, start)
}

func (r response) end(e *xml.Encoder, start xml.StartElement) error {
	metadata := struct {
		RequestID string `xml:"RequestId"`
	}{r.requestID}
	if err := e.EncodeElement(metadata, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}

type errorResponse struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	NS        string   `xml:"xmlns,attr,omitempty"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func (d *Door) fail(w http.ResponseWriter, r *http.Request, id, ns string, err error) {
	e := queryError(err)
	kind := "Sender"
	if e.status >= http.StatusInternalServerError {
		kind = "Receiver"
		d.Log.Error("request failed", "request_id", id, "err", err)
	}
	if e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1") // seconds (RFC 9110, section 10.2.3)
	}
	d.write(w, r, e.status, errorResponse{NS: ns, Type: kind, Code: e.code, Message: e.message, RequestID: id})
}

func queryError(err error) *apiError {
	var (
		own       *apiError
		signature *sigv4.Error
		denied    *access.DeniedError
		refused   *iam.Error
	)
	switch {
	case errors.As(err, &refused):
		return &apiError{refused.Status, refused.Code, refused.Message}
	case errors.Is(err, meta.ErrText):
		return &apiError{http.StatusBadRequest, iam.CodeValidation, "A text of the request has a NUL character or is not UTF-8."}
	case errors.As(err, &own):
		return own
	case errors.As(err, &signature):
		message := signature.QueryMessage
		if message == "" {
			message = signature.Message
		}
		return &apiError{signature.QueryStatus, signature.QueryCode, message}
	case errors.As(err, &denied):
		return &apiError{http.StatusForbidden, "AccessDenied", denied.Error()}
	case errors.Is(err, meta.ErrUnavailable):
		return &apiError{http.StatusServiceUnavailable, "ServiceUnavailable", "The registry cannot reach its database now."}
	default:
		return &apiError{http.StatusInternalServerError, "InternalFailure", "The registry met an internal error; its log says more under this request's id."}
	}
}

func (d *Door) write(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := xml.Marshal(v)
	if err != nil {
		d.Log.Error("encode an answer", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		d.Log.Debug("client went away", "remote", r.RemoteAddr, "err", err)
	}
}
