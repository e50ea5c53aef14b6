package policy

import "strings"

// Query is one question to a policy: may this caller do this?
type Query struct {
	Caller Caller
	// Action is the operation with its service, "ecr:PutImage". Its case does not
	// matter.
	Action string
	// Resource is the ARN that the operation touches, or "*" when it touches none.
	Resource string
	// Keys are the condition keys of the request. Nil has none.
	Keys Keys
}

// Keys gives the values of condition keys.
type Keys interface {
	// Lookup returns the values of a key, whose name is given in lower case, or
	// nothing when the request does not have it. Values of BinaryEquals are raw
	// bytes, dates are ISO 8601 or seconds since 1970.
	Lookup(name string) []string
}

// MapKeys are Keys in a map by name in lower case. Use Set, which sees to that.
type MapKeys map[string][]string

// Set gives a key its values in place of earlier ones. The names of keys, those
// of tags in them too, are the same in any case (IAM User Guide, "IAM JSON policy
// elements: Condition").
func (m MapKeys) Set(name string, values ...string) { m[strings.ToLower(name)] = values }

// Lookup implements [Keys].
func (m MapKeys) Lookup(name string) []string { return m[name] }

// Decision is what one document says.
type Decision struct {
	// Effect is Deny when any statement that applies denies, else Allow when any
	// allows, else Silent.
	Effect Effect
	// Statement is the index of a statement that decided, the first of its kind,
	// and -1 when the document is silent. Sid is its Sid.
	Statement int
	Sid       string
	// Account says of an Allow that the caller is only named by its account, and
	// not as "*", by its own ARN or by its role's. Within the account that owns
	// the resource such an allow does not grant by itself: it leaves it to the
	// account's identity policies (IAM User Guide, "AWS JSON policy elements:
	// Principal", AWS account principals).
	Account bool
	// Role says of an Allow that the caller is named by the ARN of its role, and
	// not as "*" or by the ARN of its session. Such an allow does not pass a
	// permissions boundary or session policies of the caller that do not allow too
	// (IAM User Guide, "Permissions boundaries for IAM entities" and "Policy
	// evaluation logic").
	Role bool
}

// Evaluate answers one question. Who has many compiles the document once.
func (d *Document) Evaluate(q Query) Decision { return Compile(d).Evaluate(q) }

// Compiled is a document ready to answer many questions. It does not change and
// may be used by several goroutines at once.
type Compiled struct {
	statements []statement
}

// statement is a Statement ready to be asked.
type statement struct {
	effect       Effect
	sid          string
	principals   []namedPrincipal
	notPrincipal bool
	actions      []glob // in lower case
	notAction    bool
	resources    []pattern
	notResource  bool
	conditions   []condition
}

// Compile prepares a document for many questions. It takes documents that no
// parser has seen, and then errs on the side of the deny: a condition that IAM
// does not have never holds in an Allow and is left out of a Deny, and an Allow
// with NotPrincipal allows nobody.
func Compile(d *Document) *Compiled {
	c := &Compiled{statements: make([]statement, 0, len(d.Statements))}
	variables := d.Version == Version2012
	for _, s := range d.Statements {
		c.statements = append(c.statements, compileStatement(s, variables))
	}
	return c
}

func compileStatement(s Statement, variables bool) statement {
	out := statement{
		effect: s.Effect, sid: s.SID,
		notPrincipal: s.NotPrincipal, notAction: s.NotAction, notResource: s.NotResource,
	}
	if s.NotPrincipal && s.Effect == Allow {
		out.effect = Silent
	}
	for _, p := range s.Principals {
		out.principals = append(out.principals, compilePrincipal(p))
	}
	for _, a := range s.Actions {
		out.actions = append(out.actions, newGlob(wildcards(strings.ToLower(a))))
	}
	for _, r := range s.Resources {
		out.resources = append(out.resources, compileResource(r, variables))
	}
	for _, c := range s.Conditions {
		compiled, ok := compileCondition(c, variables)
		switch {
		case ok:
			out.conditions = append(out.conditions, compiled)
		case s.Effect == Allow:
			out.effect = Silent
		}
	}
	return out
}

// Evaluate answers one question. An explicit deny wins over an allow, wherever it
// stands (IAM User Guide, "Policy evaluation logic").
func (c *Compiled) Evaluate(q Query) Decision {
	if q.Keys == nil {
		q.Keys = MapKeys(nil)
	}
	q.Action = strings.ToLower(q.Action)
	decision, strongest := Decision{Statement: -1}, nobody
	for i := range c.statements {
		s := &c.statements[i]
		if s.effect != Deny && (s.effect != Allow || strongest == itself) {
			continue // it cannot change the decision
		}
		named := s.applies(&q)
		switch {
		case named == nobody:
		case s.effect == Deny:
			return Decision{Effect: Deny, Statement: i, Sid: s.sid}
		case named > strongest:
			decision = Decision{Effect: Allow, Statement: i, Sid: s.sid, Account: named == byAccount, Role: named == byRole}
			strongest = named
		}
	}
	return decision
}

// applies tells whether and how the statement names the caller, if everything
// else of it applies, and nobody otherwise.
func (s *statement) applies(q *Query) naming {
	if s.matchesAction(q.Action) == s.notAction {
		return nobody
	}
	named := s.names(&q.Caller)
	if named == nobody || !s.matchesResource(q) {
		return nobody
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(q.Keys) {
			return nobody
		}
	}
	return named
}

func (s *statement) matchesAction(action string) bool {
	for i := range s.actions {
		if s.actions[i].match(action) {
			return true
		}
	}
	return false
}

// matchesResource takes Resource and NotResource into account. A variable
// without a value matches no resource in either.
func (s *statement) matchesResource(q *Query) bool {
	if len(s.resources) == 0 {
		return true
	}
	for i := range s.resources {
		if s.resources[i].matches(q.Resource, q.Keys) {
			return !s.notResource
		}
	}
	return s.notResource
}
