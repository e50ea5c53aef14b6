package local

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"berth/internal/access"
	"berth/internal/access/policy"
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

// sharedPolicy is DefaultPolicy that lets another account do everything too.
func sharedPolicy(s meta.Scope, account string) string {
	return strings.Replace(DefaultPolicy(s), `"arn:`+partition(s.Region)+`:iam::`+s.Account+`:root"`,
		`[ "arn:`+partition(s.Region)+`:iam::`+s.Account+`:root", "arn:`+partition(s.Region)+`:iam::`+account+`:root" ]`, 1)
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

// checkPolicy refuses what is no key policy, and what would keep the caller from
// changing it again (KMS API reference, PutKeyPolicy, Policy and
// BypassPolicyLockoutSafetyCheck).
func (k *KMS) checkPolicy(text string, caller access.Request, bypass bool) error {
	if len(text) > MaxPolicy {
		return refuse(LimitExceeded, "A key policy can have at most 32768 bytes.")
	}
	d, err := policy.ParseKeyPolicy(text)
	if err != nil {
		return refuse(MalformedPolicy, "The key policy is not a valid policy document: it is JSON with a Version and Statements, "+
			"and each has an Effect, a Principal, an Action and a Resource.")
	}
	if bypass {
		return nil
	}
	caller.Action = "kms:PutKeyPolicy"
	caller.Keys = access.KeysOf(&caller, k.now(), nil)
	if d.Evaluate(query(caller)).Effect == policy.Allow {
		return nil
	}
	return refuse(MalformedPolicy, "The new key policy will not allow you to update the key policy in the future.")
}

// Permissions is what the policies of keys say: the resource side of
// [access.Rules] for requests on keys of this KMS. A key's policy alone decides
// who may use it; naming the account leaves that to the account's own policies.
// On everything else it is silent.
//
// Source: KMS Developer Guide, "Key policies in AWS KMS".
func (k *KMS) Permissions() access.Source { return keyPolicies{k} }

// keyPolicies implements [access.Teller].
type keyPolicies struct{ *KMS }

// Evaluate implements [access.Source].
func (k keyPolicies) Evaluate(ctx context.Context, req access.Request) (access.Verdict, error) {
	return k.Tell(ctx, req, func(access.Finding) {})
}

// Tell implements [access.Teller].
func (k keyPolicies) Tell(ctx context.Context, req access.Request, tell func(access.Finding)) (access.Verdict, error) {
	p, err := k.policies.Get(k.db, req.Resource, func() (*policy.Compiled, error) { return k.policy(ctx, req.Resource) })
	if err != nil || p == nil {
		return access.Silent, err
	}
	d := p.Evaluate(query(req))
	v, note := access.Withheld, "only the key's policy can allow the use of the key, and it does not"
	switch {
	case d.Effect == policy.Deny:
		v, note = access.Deny, ""
	case d.Effect == policy.Allow && d.Role:
		v, note = access.AllowRole, ""
	case d.Effect == policy.Allow && (!d.Account || req.CrossAccount()):
		v, note = access.Allow, ""
	case d.Effect == policy.Allow:
		v, note = access.Silent, "it allows the account, which leaves it to the caller's own policies"
	}
	tell(access.Finding{Policy: "key policy of " + req.Resource, Effect: v, Statement: d.Statement + 1, Sid: d.Sid, Note: note})
	return v, nil
}

// policy reads the policy of a key; nil: there is no such key here.
func (k *KMS) policy(ctx context.Context, arn string) (*policy.Compiled, error) {
	n, err := k.byARN(arn)
	if err != nil || n.alias != "" {
		return nil, nil //nolint:nilerr // a resource of another kind
	}
	var key meta.KMSKey
	err = k.db.Read(ctx, func(tx *meta.Tx) (err error) {
		key, err = tx.KMSKey(arn)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := policy.ParseKeyPolicy(key.Policy)
	if err != nil {
		// It was accepted once, so this is damage: nobody is let in on a guess.
		return nil, fmt.Errorf("read the policy of key %s: %w", arn, err)
	}
	return policy.Compile(d), nil
}

func query(req access.Request) policy.Query {
	p := req.Principal
	return policy.Query{
		Caller: policy.Caller{Account: p.Account, ARN: p.ARN, Role: p.Role},
		Action: req.Action, Resource: req.Resource, Keys: req.Keys,
	}
}

// TagsOf reads the tags of a key, for conditions on them; what is no key here
// has none.
func (k *KMS) TagsOf(ctx context.Context, arn string) (out []access.Tag, err error) {
	err = k.db.Read(ctx, func(tx *meta.Tx) error {
		out = nil
		key, err := tx.KMSKey(arn)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		for name, value := range key.Tags {
			out = append(out, access.Tag{Key: name, Value: value})
		}
		return err
	})
	return out, err
}
