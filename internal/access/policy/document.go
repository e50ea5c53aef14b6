package policy

import "encoding/json"

// Versions of the policy language. A document without one has Version2008.
const (
	Version2008 = "2008-10-17"
	Version2012 = "2012-10-17"
)

// Document is a valid, normalised policy document.
type Document struct {
	// Version is Version2008 or Version2012; policy variables such as
	// ${aws:username} have a meaning only in the latter.
	Version string
	// ID is the optional Id element.
	ID string
	// Statements has at least one element, in the order of the text.
	Statements []Statement
}

// Effect is what a matching statement does.
type Effect string

// The values of Effect. Silent is no effect of a statement, but what a document
// says when no statement applies: the implicit deny.
const (
	Silent Effect = ""
	Allow  Effect = "Allow"
	Deny   Effect = "Deny"
)

// Statement is one statement. The Not… fields turn the list beside them into
// "everything except".
type Statement struct {
	// SID is the optional Sid; unlike IAM, ECR does not ask for it to be unique.
	SID    string
	Effect Effect
	// Principals is sorted. It is empty in an identity policy, whose principal is
	// who it is attached to, and only there.
	Principals   []Principal
	NotPrincipal bool // only with Deny
	// Actions is not empty; each is "*", or a service such as "ecr:" and an
	// operation name that may hold "*" and "?". Matching ignores case.
	Actions   []string
	NotAction bool
	// Resources is empty when the statement has no Resource element: then the
	// resource is what the policy is attached to, a repository or a role.
	// Otherwise each is "*" or an ARN that may hold "*" and "?"; in an identity
	// policy the ARN may lack fields at its end.
	Resources   []string
	NotResource bool
	// Conditions must all hold. It is sorted by operator and key.
	Conditions []Condition
}

// PrincipalType is the kind of a principal.
type PrincipalType string

// The values of PrincipalType that ECR knows.
const (
	AWS       PrincipalType = "AWS"
	Federated PrincipalType = "Federated"
	Service   PrincipalType = "Service"
)

// Principal is one principal of a statement. {AWS, "*"} is everybody; an account
// is its root ARN, arn:aws:iam::<account>:root, whichever way it was written.
type Principal struct {
	Type  PrincipalType
	Value string
}

// Everybody is the principal "*".
func Everybody() Principal { return Principal{AWS, "*"} }

// Qualifier says how an operator treats a key with several values.
type Qualifier string

// The values of Qualifier. None is for keys with a single value.
const (
	None         Qualifier = ""
	ForAllValues Qualifier = "ForAllValues"
	ForAnyValue  Qualifier = "ForAnyValue"
)

// Operator is a condition operator taken apart.
type Operator struct {
	Qualifier Qualifier
	// Name is the bare operator, such as StringLike.
	Name string
	// IfExists makes the condition hold when the key is absent.
	IfExists bool
}

// String returns the operator as policies spell it.
func (o Operator) String() string {
	s := o.Name
	if o.Qualifier != None {
		s = string(o.Qualifier) + ":" + s
	}
	if o.IfExists {
		s += "IfExists"
	}
	return s
}

// Condition is one operator applied to one key. It holds when any of the values
// does; for the Not… operators, when none does.
type Condition struct {
	Operator Operator
	// Key is the context key in the spelling of the text; matching ignores case.
	Key string
	// Values is not empty. Numbers and booleans are kept as their text.
	Values []string
}

// MarshalJSON writes the document in its normal form: every list a list,
// members in a fixed order.
func (d *Document) MarshalJSON() ([]byte, error) {
	type statement struct {
		SID          string                         `json:"Sid,omitempty"`
		Effect       Effect                         `json:"Effect"`
		Principal    map[PrincipalType][]string     `json:"Principal,omitempty"`
		NotPrincipal map[PrincipalType][]string     `json:"NotPrincipal,omitempty"`
		Action       []string                       `json:"Action,omitempty"`
		NotAction    []string                       `json:"NotAction,omitempty"`
		Resource     []string                       `json:"Resource,omitempty"`
		NotResource  []string                       `json:"NotResource,omitempty"`
		Condition    map[string]map[string][]string `json:"Condition,omitempty"`
	}
	out := struct {
		Version   string      `json:"Version"`
		ID        string      `json:"Id,omitempty"`
		Statement []statement `json:"Statement"`
	}{d.Version, d.ID, make([]statement, len(d.Statements))}
	for i, s := range d.Statements {
		principals := map[PrincipalType][]string{}
		for _, p := range s.Principals {
			principals[p.Type] = append(principals[p.Type], p.Value)
		}
		conditions := map[string]map[string][]string{}
		for _, c := range s.Conditions {
			name := c.Operator.String()
			if conditions[name] == nil {
				conditions[name] = map[string][]string{}
			}
			conditions[name][c.Key] = c.Values
		}
		w := statement{SID: s.SID, Effect: s.Effect, Condition: conditions}
		place(s.NotPrincipal, principals, &w.Principal, &w.NotPrincipal)
		place(s.NotAction, s.Actions, &w.Action, &w.NotAction)
		place(s.NotResource, s.Resources, &w.Resource, &w.NotResource)
		out.Statement[i] = w
	}
	return json.Marshal(out)
}

func place[T any](negated bool, v T, plain, not *T) {
	if negated {
		*not = v
		return
	}
	*plain = v
}
