package iamapi

import (
	"context"
	"net/netip"
	"strings"

	"berth/internal/access"
	"berth/internal/access/policy"
	"berth/internal/iam"
)

// An Explainer tells how a request would be decided, and why.
type Explainer interface {
	Explain(ctx context.Context, req access.Request) (access.Explanation, error)
}

// findingXML is what one policy says. A statement is counted from 1.
type findingXML struct {
	Policy    string
	Effect    string
	Statement int    `xml:",omitempty"`
	Sid       string `xml:",omitempty"`
	Note      string `xml:",omitempty"`
}

type explanationXML struct {
	Decision string // Allowed or Denied
	Message  string `xml:",omitempty"` // of the denial
	Missing  string `xml:",omitempty"`
	Findings list[findingXML]
}

// explainAccess answers how a request of somebody else would be decided, if it
// came now, over the same kind of connection, from SourceIp.
func explainAccess(c *call) (any, error) {
	if err := c.home(); err != nil {
		return nil, err
	}
	req, err := c.question()
	if err != nil {
		return nil, err
	}
	e, err := c.Explain.Explain(c.ctx, req)
	if err != nil {
		return nil, err
	}
	out := explanationXML{Decision: "Allowed", Missing: e.Missing(), Findings: listOf(e.Findings, func(f access.Finding) findingXML {
		return findingXML{f.Policy, f.Effect.String(), f.Statement, f.Sid, f.Note}
	})}
	if e.Denied != nil {
		out.Decision, out.Message = "Denied", e.Denied.Error()
	}
	return out, nil
}

// question reads the request that is asked about.
func (c *call) question() (access.Request, error) {
	q := access.Request{Call: access.Call{SourceIP: c.form.Get("SourceIp"), Secure: c.from.Secure, Region: c.from.Region}}
	who, err := c.need("PrincipalArn")
	if err == nil {
		q.Action, err = c.need("ActionName")
	}
	if err == nil {
		q.Resource, err = c.need("ResourceArn")
	}
	if err != nil {
		return q, err
	}
	if q.Action, err = operation(q.Action); err != nil {
		return q, err
	}
	if _, err := netip.ParseAddr(q.Call.SourceIP); q.Call.SourceIP != "" && err != nil {
		return q, iam.Invalid("%.200s is not an IP address.", q.Call.SourceIP)
	}
	if q.Principal, err = c.Store.FindPrincipal(c.ctx, who); err != nil {
		return q, err
	}
	q.ResourceAccount = q.Principal.Account
	if q.Resource == "*" {
		return q, nil
	}
	parts := strings.SplitN(q.Resource, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || !access.IsAccountID(parts[4]) || parts[5] == "" {
		return q, iam.Invalid("The resource %.200s is neither an ARN with an account nor *.", q.Resource)
	}
	q.ResourceAccount = parts[4]
	if parts[3] != "" {
		q.Call.Region = parts[3]
	}
	return q, nil
}

// operation is one action as requests name it. A mistyped one must not be
// explained as one that nothing allows.
func operation(action string) (string, error) {
	service, name, ok := strings.Cut(action, ":")
	if !ok || service == "" || name == "" || strings.ContainsAny(action, "*?") {
		return "", iam.Invalid("The action %.200s is not one operation with its service, such as ecr:BatchGetImage.", action)
	}
	if !strings.EqualFold(service, "ecr") {
		return action, nil
	}
	known, ok := policy.Operation(action)
	if !ok {
		return "", iam.Invalid("ECR has no action %.200s.", action)
	}
	return known, nil
}
