package policy

import (
	"strings"

	"berth/internal/access"
)

// Caller is who asks, as the Principal element can name it. The zero value is
// anonymous: only "*" names it. What does not concern a caller stays empty.
//
// Source: IAM User Guide, "AWS JSON policy elements: Principal".
type Caller struct {
	// Account is the 12-digit account that the caller belongs to. Services and
	// users of an identity provider belong to none.
	Account string
	// ARN is the caller's own: arn:aws:iam::ACCOUNT:root,
	// arn:aws:iam::ACCOUNT:user/PATH/NAME,
	// arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION or
	// arn:aws:sts::ACCOUNT:federated-user/NAME.
	ARN string
	// Role is the ARN of the role behind a session, with its path, which the
	// session's ARN does not tell: arn:aws:iam::ACCOUNT:role/PATH/NAME. A policy
	// that names the role means its sessions; leaving Role out loses its denies.
	Role string
	// Service is the name of an AWS service that calls on its own, such as
	// codebuild.amazonaws.com.
	Service string
	// Federated is the identity provider, by ARN or host, that vouches for a
	// caller who assumes a role with its token.
	Federated string
}

// naming is how a statement names a caller.
type naming int

const (
	nobody    naming = iota // not at all
	byAccount               // by its account
	byRole                  // by the ARN of its role
	itself                  // as everybody or by its own ARN
)

// namedPrincipal is a Principal ready to be compared.
type namedPrincipal struct {
	Principal
	// account is the account whose root the ARN is, or empty.
	account string
}

func compilePrincipal(p Principal) namedPrincipal {
	out := namedPrincipal{Principal: p}
	if p.Type == AWS {
		// Twelve digits have become the root of the partition aws, so the
		// partition must not matter.
		if fields := strings.SplitN(p.Value, ":", arnFields); len(fields) == arnFields &&
			fields[2] == "iam" && fields[5] == "root" && access.IsAccountID(fields[4]) {
			out.account = fields[4]
		}
	}
	return out
}

// names compares a statement's principals with the caller. A policy without
// principals is attached to the caller.
func (s *statement) names(c *Caller) naming {
	if s.notPrincipal {
		if s.exempts(c) {
			return nobody
		}
		return itself
	}
	if len(s.principals) == 0 {
		return itself
	}
	named := nobody
	for i := range s.principals {
		p := &s.principals[i]
		switch {
		case p.Principal == Everybody(), p.is(c.self(p.Type)):
			return itself
		case p.Type == AWS && p.is(c.Role):
			named = byRole
		case p.account != "" && p.account == c.Account:
			named = max(named, byAccount)
		}
	}
	// The root user is its account.
	if named == byAccount && c.isRoot() {
		return itself
	}
	return named
}

func (p *namedPrincipal) is(name string) bool { return name != "" && p.Value == name }

// self is the name of the caller among the principals of a type.
func (c *Caller) self(t PrincipalType) string {
	switch t {
	case Service:
		return c.Service
	case Federated:
		return c.Federated
	}
	return c.ARN
}

func (c *Caller) isRoot() bool { return access.Principal{Account: c.Account, ARN: c.ARN}.IsRoot() }

// exempts reports whether NotPrincipal leaves the caller out of a deny. For that
// it must list everything that the caller is: its account, its role if it has
// one, and itself. The account alone exempts its root user, not its users.
//
// Source: IAM User Guide, "AWS JSON policy elements: NotPrincipal": account, role
// and session are validated one after the other, and a list without the account
// or the role may deny the caller. Here it always does.
func (s *statement) exempts(c *Caller) bool {
	lists := func(t PrincipalType, name string) bool {
		for i := range s.principals {
			if p := &s.principals[i]; p.Type == t && p.Value == name {
				return true
			}
		}
		return name == ""
	}
	var everybody, account bool
	for i := range s.principals {
		p := &s.principals[i]
		everybody = everybody || p.Principal == Everybody()
		account = account || p.account != "" && p.account == c.Account
	}
	switch {
	case everybody:
		return true
	case *c == Caller{}, c.Account != "" && !account:
		return false
	case c.isRoot():
		return account
	}
	return lists(AWS, c.ARN) && lists(AWS, c.Role) && lists(Service, c.Service) && lists(Federated, c.Federated)
}
