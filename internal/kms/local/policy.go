package local

import (
	"encoding/json"
	"strings"

	"berth/internal/meta"
)

// DefaultPolicy is the policy of a key that was made without one: its account
// may do everything, and decides by IAM who else may (KMS Developer Guide,
// "Default key policy"). Text and spacing are those of AWS.
func DefaultPolicy(s meta.Scope) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:` + partition(s.Region) + `:iam::` + s.Account + `:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`
}

// managedPolicy is that of the AWS managed key for ECR: ECR uses it for whoever
// may use ECR, and the account reads what it is (KMS Developer Guide, "AWS
// managed keys"; ECR User Guide, "Encryption at rest").
func managedPolicy(s meta.Scope) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "auto-ecr-1",
  "Statement" : [ {
    "Sid" : "Allow access through ECR for all principals in the account that are authorized to use ECR",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "*"
    },
    "Action" : [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant" ],
    "Resource" : "*",
    "Condition" : {
      "StringEquals" : {
        "kms:ViaService" : "ecr.` + s.Region + `.amazonaws.com",
        "kms:CallerAccount" : "` + s.Account + `"
      }
    }
  }, {
    "Sid" : "Allow direct access to key metadata to the account",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:` + partition(s.Region) + `:iam::` + s.Account + `:root"
    },
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ],
    "Resource" : "*"
  } ]
}`
}

// A statement is one of a policy, as far as it is looked at.
type statement struct {
	Effect                  string
	Principal, NotPrincipal json.RawMessage
	Action, NotAction       json.RawMessage
	Resource, NotResource   json.RawMessage
}

// checkPolicy refuses what is no key policy, and what would leave nobody who
// could change it (KMS API reference, PutKeyPolicy, Policy).
func checkPolicy(text, account, caller string, bypass bool) error {
	if len(text) > MaxPolicy {
		return refuse(LimitExceeded, "A key policy can have at most 32768 bytes.")
	}
	statements, ok := statementsOf(text)
	if !ok {
		return refuse(MalformedPolicy, "The key policy is not a valid policy document: it is JSON with a Version and Statements, "+
			"and each has an Effect, a Principal, an Action and a Resource.")
	}
	if bypass {
		return nil
	}
	for _, s := range statements {
		if s.Effect == "Allow" && allowsPut(s.Action) && namesAccount(s.Principal, account, caller) {
			return nil
		}
	}
	return refuse(MalformedPolicy, "The new key policy will not allow you to update the key policy in the future.")
}

func statementsOf(text string) ([]statement, bool) {
	var document struct {
		Version   string
		Statement json.RawMessage
	}
	if json.Unmarshal([]byte(text), &document) != nil {
		return nil, false
	}
	var statements []statement
	if json.Unmarshal(document.Statement, &statements) != nil {
		var one statement
		if json.Unmarshal(document.Statement, &one) != nil {
			return nil, false
		}
		statements = []statement{one}
	}
	for _, s := range statements {
		whole := (s.Effect == "Allow" || s.Effect == "Deny") && (s.Principal == nil) != (s.NotPrincipal == nil) &&
			(s.Action == nil) != (s.NotAction == nil) && (s.Resource == nil) != (s.NotResource == nil)
		if !whole {
			return nil, false
		}
	}
	known := document.Version == "" || document.Version == "2012-10-17" || document.Version == "2008-10-17"
	return statements, known && len(statements) > 0
}

// oneOrMany reads a text or a list of texts.
func oneOrMany(raw json.RawMessage) []string {
	var many []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	if json.Unmarshal(raw, &many) != nil {
		return nil
	}
	return many
}

func allowsPut(action json.RawMessage) bool {
	for _, a := range oneOrMany(action) {
		a = strings.ToLower(a)
		head, wild := strings.CutSuffix(a, "*")
		if a == "kms:putkeypolicy" || wild && strings.HasPrefix("kms:putkeypolicy", head) {
			return true
		}
	}
	return false
}

// namesAccount tells whether a principal is everybody, the account, or somebody
// in it: a statement for another user of the account lets that one repair it.
func namesAccount(principal json.RawMessage, account, caller string) bool {
	names := oneOrMany(principal)
	var typed map[string]json.RawMessage
	if json.Unmarshal(principal, &typed) == nil {
		names = oneOrMany(typed["AWS"])
	}
	for _, n := range names {
		if n == "*" || n == account || n == caller || strings.Contains(n, ":iam::"+account+":") {
			return true
		}
	}
	return false
}
