package policy

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxTextLength is the longest policy text in characters (ECR API Reference,
// policyText).
const MaxTextLength = 10240

// ParseRepositoryPolicy reads and validates a repository policy. The error is
// always an *[Error].
func ParseRepositoryPolicy(s string) (*Document, error) { return repositoryPolicy().readBounded(s) }

// ParseRegistryPolicy reads and validates the policy of a registry: as that of a
// repository, and every statement has resources. The error is always an *[Error].
//
// Source: ECR User Guide, "Private registry permissions".
func ParseRegistryPolicy(s string) (*Document, error) { return registryPolicy().readBounded(s) }

// ParseIdentityPolicy reads and validates a policy that is attached to a user, a
// group or a role, a permissions boundary or a session policy: statements without
// a principal, on resources of any service. The error is always an *[Error] with
// the text of IAM's MalformedPolicyDocument. The caller limits the size of the
// text, since each kind of policy has a limit of its own.
//
// Source: IAM User Guide, "Grammar of the IAM JSON policy language".
func ParseIdentityPolicy(s string) (*Document, error) { return identityPolicy().read(s) }

// ParseTrustPolicy reads and validates the AssumeRolePolicyDocument of a role:
// statements with a principal and actions of STS, on the role itself. Errors and
// size are as in [ParseIdentityPolicy].
//
// Source: IAM User Guide, "Roles terms and concepts" (role trust policy).
func ParseTrustPolicy(s string) (*Document, error) { return trustPolicy().read(s) }

// ParseKeyPolicy reads and validates the policy of a KMS key: statements with a
// principal, actions and resources. The error is always an *[Error]. The caller
// limits the size of the text.
//
// Source: KMS Developer Guide, "Key policies in AWS KMS".
func ParseKeyPolicy(s string) (*Document, error) { return keyPolicy().read(s) }

// readBounded reads a text of at most MaxTextLength characters.
func (d dialect) readBounded(s string) (*Document, error) {
	if n := utf8.RuneCountInString(s); n > MaxTextLength {
		return nil, faultAt(0, "the policy has %d characters; at most %d are allowed", n, MaxTextLength).locate("", d)
	}
	return d.read(s)
}

func (d dialect) read(s string) (*Document, error) {
	doc, f := d.parse(s)
	if f != nil {
		return nil, f.locate(s, d)
	}
	return doc, nil
}

func (d dialect) parse(s string) (*Document, *fault) {
	if !utf8.ValidString(s) {
		return nil, faultAt(0, "the policy is not valid UTF-8")
	}
	root, f := readJSON(s)
	if f != nil {
		return nil, f
	}
	if f := members(root, "the policy", "Version", "Id", "Statement"); f != nil {
		return nil, f
	}
	doc := &Document{Version: Version2008}
	if v := root.get("Version"); v != nil {
		if v.kind != text || (v.text != Version2008 && v.text != Version2012) {
			return nil, faultAt(v.offset, "Version must be %q or %q", Version2012, Version2008)
		}
		doc.Version = v.text
	}
	if doc.ID, f = optionalString(root, "Id"); f != nil {
		return nil, f
	}
	list := root.get("Statement")
	switch {
	case list == nil:
		return nil, faultAt(root.offset, "the policy has no Statement")
	case list.kind == object:
		list = &node{kind: array, offset: list.offset, items: []*node{list}}
	case list.kind != array:
		return nil, faultAt(list.offset, "Statement must be an object or a list of objects, not %s", list.kind)
	case len(list.items) == 0:
		return nil, faultAt(list.offset, "Statement is empty")
	}
	doc.Statements = make([]Statement, len(list.items))
	sids := map[string]bool{}
	for i, n := range list.items {
		s := &doc.Statements[i]
		if f := s.parse(n, d); f != nil {
			return nil, f
		}
		if d.uniqueSIDs && s.SID != "" && sids[s.SID] {
			return nil, faultAt(n.offset, "Sid %q occurs twice", clip(s.SID)).
				saying("Statement IDs (SID) in a single policy must be unique.")
		}
		sids[s.SID] = true
	}
	return doc, nil
}

// members checks that n is an object with known members only.
func members(n *node, what string, known ...string) *fault {
	if n.kind != object {
		return faultAt(n.offset, "%s must be an object, not %s", what, n.kind)
	}
	for _, m := range n.members {
		if slices.Contains(known, m.name) {
			continue
		}
		for _, k := range known {
			if strings.EqualFold(k, m.name) {
				return faultAt(m.offset, "unknown member %q; it is spelled %q", clip(m.name), k)
			}
		}
		return faultAt(m.offset, "unknown member %q in %s", clip(m.name), what)
	}
	return nil
}

func optionalString(n *node, name string) (string, *fault) {
	v := n.get(name)
	if v == nil {
		return "", nil
	}
	if v.kind != text {
		return "", faultAt(v.offset, "%s must be a string, not %s", name, v.kind)
	}
	return v.text, nil
}

func (s *Statement) parse(n *node, d dialect) (f *fault) {
	if f := members(n, "a statement", "Sid", "Effect", "Principal", "NotPrincipal",
		"Action", "NotAction", "Resource", "NotResource", "Condition"); f != nil {
		return f
	}
	if f := d.checkForbidden(n); f != nil {
		return f
	}
	if s.SID, f = optionalString(n, "Sid"); f != nil {
		return f
	}
	if d.uniqueSIDs && strings.ContainsFunc(s.SID, notAlphanumeric) {
		return faultAt(n.get("Sid").offset, "Sid %q has characters other than letters and digits", clip(s.SID)).
			saying("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
	}
	switch effect := n.get("Effect"); {
	case effect == nil:
		return faultAt(n.offset, "the statement has no Effect")
	case effect.kind != text || (effect.text != string(Allow) && effect.text != string(Deny)):
		return faultAt(effect.offset, "Effect must be \"Allow\" or \"Deny\"")
	default:
		s.Effect = Effect(effect.text)
	}
	if d.principals {
		if f := s.parsePrincipals(n); f != nil {
			return f
		}
	}
	if f := s.parseActions(n, d); f != nil {
		return f
	}
	if f := s.parseResources(n, d); f != nil {
		return f
	}
	if c := n.get("Condition"); c != nil {
		s.Conditions, f = parseConditions(c)
	}
	return f
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// either returns the one of two members that is given; both is a fault.
func either(n *node, plain, not string) (v *node, negated bool, f *fault) {
	a, b := n.get(plain), n.get(not)
	switch {
	case a != nil && b != nil:
		return nil, false, faultAt(b.offset, "the statement has both %s and %s", plain, not)
	case b != nil:
		return b, true, nil
	}
	return a, false, nil
}

// strings1 reads a string or a list of at least one string.
func strings1(n *node, what string) ([]*node, *fault) {
	switch {
	case n.kind == text:
		return []*node{n}, nil
	case n.kind != array:
		return nil, faultAt(n.offset, "%s must be a string or a list of strings, not %s", what, n.kind)
	case len(n.items) == 0:
		return nil, faultAt(n.offset, "%s is an empty list", what)
	}
	for _, item := range n.items {
		if item.kind != text {
			return nil, faultAt(item.offset, "%s must hold strings, not %s", what, item.kind)
		}
	}
	return n.items, nil
}

func (s *Statement) parseActions(n *node, d dialect) *fault {
	v, not, f := either(n, "Action", "NotAction")
	if f != nil {
		return f
	}
	if v == nil {
		return faultAt(n.offset, "the statement has no Action").saying("%s", d.noAction)
	}
	list, f := strings1(v, "Action")
	if f != nil {
		return f
	}
	s.NotAction = not
	for _, item := range list {
		if f := d.checkAction(item.text); f != nil {
			f.offset = item.offset
			return f
		}
		s.Actions = append(s.Actions, item.text)
	}
	return nil
}

func (s *Statement) parseResources(n *node, d dialect) *fault {
	v, not, f := either(n, "Resource", "NotResource")
	switch {
	case f != nil:
		return f
	case v == nil && d.resources:
		return faultAt(n.offset, "the statement has no Resource").saying("Policy statement must contain resources.")
	case v == nil:
		return nil
	}
	list, f := strings1(v, "Resource")
	if f != nil {
		return f
	}
	s.NotResource = not
	for _, item := range list {
		if item.text != "*" && (!strings.HasPrefix(item.text, "arn:") || strings.Count(item.text, ":") < d.colons) {
			return faultAt(item.offset, "resource %q is neither \"*\" nor an ARN", clip(item.text)).
				saying("Resource %s must be in ARN format or \"*\".", clip(item.text))
		}
		s.Resources = append(s.Resources, item.text)
	}
	return nil
}

func (s *Statement) parsePrincipals(n *node) *fault {
	v, not, f := either(n, "Principal", "NotPrincipal")
	switch {
	case f != nil:
		return f
	case v == nil:
		// terraform-aws-modules/terraform-aws-iam#47
		return faultAt(n.offset, "the statement has no Principal").
			saying("Invalid principal in policy: com.amazon.balsa.error.InvalidPolicyException: The passed in policy has a statement with no principals!")
	case not && s.Effect != Deny:
		return faultAt(v.offset, "NotPrincipal goes only with Effect \"Deny\"")
	case not && v.kind == text:
		return faultAt(v.offset, "NotPrincipal must be an object")
	}
	s.NotPrincipal = not
	switch {
	case v.kind == text && v.text == "*":
		s.Principals = []Principal{Everybody()}
		return nil
	case v.kind != object:
		return faultAt(v.offset, "Principal must be \"*\" or an object such as {\"AWS\": \"123456789012\"}")
	case len(v.members) == 0:
		return faultAt(v.offset, "Principal is an empty object")
	}
	for _, m := range v.members {
		normalise, ok := principalForm(PrincipalType(m.name))
		if !ok {
			return faultAt(m.offset, "principal type %q is not AWS, Service or Federated", clip(m.name))
		}
		list, f := strings1(m.value, "Principal "+m.name)
		if f != nil {
			return f
		}
		for _, item := range list {
			value, err := normalise(item.text)
			if err != nil {
				f := &fault{offset: item.offset, reason: err}
				return f.saying("Invalid principal in policy: %q:%q", m.name, clip(item.text))
			}
			s.Principals = append(s.Principals, Principal{PrincipalType(m.name), value})
		}
	}
	slices.SortFunc(s.Principals, func(a, b Principal) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
	})
	s.Principals = slices.Compact(s.Principals)
	return nil
}
