package local

import (
	"regexp"
	"strings"

	"berth/internal/kms"
	"berth/internal/meta"
)

// Codes of refusals beyond those of package kms (KMS API reference).
const (
	AlreadyExists    = "AlreadyExistsException"
	InvalidAliasName = "InvalidAliasNameException"
	LimitExceeded    = "LimitExceededException"
	MalformedPolicy  = "MalformedPolicyDocumentException"
	NotAuthorized    = "NotAuthorizedException"
	TagInvalid       = "TagException"
	Unsupported      = "UnsupportedOperationException"
	Validation       = "ValidationException"
)

// ECRAlias is the alias of the AWS managed key for ECR (KMS Developer Guide, "AWS managed keys").
const ECRAlias = "alias/aws/ecr"

const (
	aliasPrefix   = "alias/"
	managedPrefix = "alias/aws/"
)

// pattern holds the forms of names. They are compiled once for each KMS.
type patterns struct {
	arn, id, plainID, alias *regexp.Regexp
}

func compilePatterns() patterns {
	return patterns{
		arn:     regexp.MustCompile(`^arn:aws[a-z-]{0,20}:kms:([a-z0-9-]{1,40}):([0-9]{12}):(key|alias)/(.+)$`),
		id:      regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,256}$`),
		plainID: regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`),
		alias:   regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`), // KMS API reference, CreateAlias
	}
}

// A name is what a request calls a key by, taken apart.
type name struct {
	scope meta.Scope
	arn   string // of the key, or of the alias
	alias string // with alias/ before it; empty when the key itself is named
	full  bool   // it was an ARN
}

// parse reads a key id, an alias, a key ARN or an alias ARN (KMS Developer
// Guide, "Key identifiers (KeyId)"); what is not an ARN belongs to the scope.
func (p patterns) parse(s meta.Scope, text string) (name, error) {
	if strings.HasPrefix(text, "arn:") {
		m := p.arn.FindStringSubmatch(text)
		if m == nil || len(text) > 2048 {
			return name{}, refuse(kms.InvalidARN, "Invalid arn "+text)
		}
		n := name{scope: meta.Scope{Account: m[2], Region: m[1]}, arn: text, full: true}
		if m[3] == "alias" {
			n.alias = aliasPrefix + m[4]
		}
		if n.alias != "" && !p.alias.MatchString(n.alias) || n.alias == "" && !p.id.MatchString(m[4]) {
			return name{}, refuse(kms.InvalidARN, "Invalid arn "+text)
		}
		return n, nil
	}
	if strings.HasPrefix(text, aliasPrefix) {
		if !p.alias.MatchString(text) || len(text) > 256 {
			return name{}, refuse(kms.NotFound, "Invalid keyId '"+text+"'")
		}
		return name{scope: s, arn: arnOf(s, text), alias: text}, nil
	}
	if !p.plainID.MatchString(text) {
		return name{}, refuse(kms.NotFound, "Invalid keyId '"+text+"'")
	}
	return name{scope: s, arn: arnOf(s, "key/"+text)}, nil
}

// arnOf is the ARN of a resource of KMS, in the partition of its region (AWS
// General Reference, "Amazon Resource Names").
func arnOf(s meta.Scope, resource string) string {
	return "arn:" + partition(s.Region) + ":kms:" + s.Region + ":" + s.Account + ":" + resource
}

func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// AliasARN is the ARN of an alias.
func AliasARN(a meta.KMSAlias) string { return arnOf(a.Scope, a.Name) }

func refuse(code, message string) *kms.Error { return &kms.Error{Code: code, Message: message} }

func absent(n name) error {
	if n.alias != "" {
		return refuse(kms.NotFound, "Alias "+n.arn+" is not found.")
	}
	return refuse(kms.NotFound, "Key '"+n.arn+"' does not exist")
}
