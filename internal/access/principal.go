package access

import (
	"log/slog"
	"strings"
)

// Principal is the authenticated caller. The zero value is nobody and is
// refused everywhere.
type Principal struct {
	// Account is the 12-digit account the caller belongs to.
	Account string
	// ARN is the caller's name as AWS prints it in GetCallerIdentity and in
	// access-denied messages, for example arn:aws:iam::123456789012:root.
	ARN string
	// UserID is the unique identifier of GetCallerIdentity: the account number
	// for the root user, AIDA… for a user, AROA…:session for a role session.
	UserID string
	// Role is the ARN of the role behind a session, with its path; empty for
	// everybody else.
	Role string
	// Provider is the ARN of the identity provider that vouches for a caller of
	// sts:AssumeRoleWithWebIdentity, who is nobody in an account yet. Empty for everybody else.
	Provider string
	// AccessKeyID is the key the caller signed with, for audit and revocation.
	AccessKeyID string
}

// Root returns the root principal of an account, signing with accessKeyID.
//
// Source: IAM User Guide, "AWS JSON policy elements: Principal" (the account
// form arn:aws:iam::<account>:root) and STS GetCallerIdentity (UserId of the
// root user is the account number).
func Root(account, accessKeyID string) Principal {
	return Principal{
		Account:     account,
		ARN:         "arn:aws:iam::" + account + ":root",
		UserID:      account,
		AccessKeyID: accessKeyID,
	}
}

// IsRoot reports whether the principal is the root user of its own account, in
// any partition (arn:aws, arn:aws-cn, arn:aws-us-gov).
func (p Principal) IsRoot() bool {
	if !IsAccountID(p.Account) {
		return false
	}
	rest, ok := strings.CutPrefix(p.ARN, "arn:aws")
	if !ok {
		return false
	}
	partition, rest, ok := strings.Cut(rest, ":")
	if !ok || (partition != "" && partition[0] != '-') {
		return false
	}
	return rest == "iam::"+p.Account+":root"
}

// identityARN is what aws:PrincipalArn says: for a session, the role's ARN.
func (p Principal) identityARN() string {
	if p.Role != "" {
		return p.Role
	}
	return p.ARN
}

// kind is what aws:PrincipalType says.
func (p Principal) kind() string {
	switch {
	case p.Role != "":
		return "AssumedRole"
	case p.IsRoot():
		return "Account"
	default:
		return "User"
	}
}

// userName is what aws:username says: the name of a user, without its path.
func (p Principal) userName() string {
	_, path, ok := strings.Cut(p.ARN, ":user/")
	if !ok {
		return ""
	}
	return path[strings.LastIndexByte(path, '/')+1:]
}

// IsZero reports whether the principal is nobody.
func (p Principal) IsZero() bool { return p == Principal{} }

// LogValue prints the caller by name; an access key identifier is no secret
// and stays, since operators search for it.
func (p Principal) LogValue() slog.Value {
	return slog.GroupValue(slog.String("arn", p.ARN), slog.String("access_key_id", p.AccessKeyID))
}

// IsAccountID reports whether s has the form of an account number: twelve
// decimal digits (ECR API reference, registryId).
func IsAccountID(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
