package policy

// dialect is what differs between the kinds of policies. Each is written once
// here; everything else they share.
type dialect struct {
	// sentence is the text of every refusal, unless the dialect explains: then a
	// fault that has a message of its own in IAM is answered with that.
	sentence string
	explains bool

	// principals: every statement has them. Otherwise none has.
	principals bool
	// resources: every statement has them. Otherwise they may be left out.
	resources bool
	// colons is how many an ARN among the resources has at least.
	colons int
	// uniqueSIDs: a Sid has letters and digits only and occurs once.
	uniqueSIDs bool
	// forbidden members of a statement, each with IAM's message.
	forbidden   []forbidden
	checkAction func(string) *fault
	// noAction is IAM's message for a statement without actions.
	noAction string
}

type forbidden struct{ member, sentence string }

func (d dialect) checkForbidden(n *node) *fault {
	for _, bad := range d.forbidden {
		for _, m := range n.members {
			if m.name == bad.member {
				return faultAt(m.offset, "this kind of policy must not have %s", m.name).saying("%s", bad.sentence)
			}
		}
	}
	return nil
}

func repositoryPolicy() dialect {
	return dialect{
		sentence:    "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'",
		principals:  true,
		colons:      5,
		checkAction: checkRepositoryAction,
	}
}

// registryPolicy names its repositories, since it is of all of a registry.
func registryPolicy() dialect {
	d := repositoryPolicy()
	d.sentence = "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid registry policy provided'"
	d.resources = true
	return d
}

// keyPolicy is that of a KMS key. Its statements are about the key that it is
// attached to, whatever they name as their resource ("*" is what AWS makes).
func keyPolicy() dialect {
	return dialect{
		sentence:    malformed,
		principals:  true,
		resources:   true,
		colons:      1,
		checkAction: checkIdentityAction,
	}
}

// malformed is what IAM says of a policy when it says nothing precise.
const malformed = "Syntax errors in policy."

func identityPolicy() dialect {
	const noPrincipal = "Policy document should not specify a principal."
	return dialect{
		sentence:    malformed,
		explains:    true,
		resources:   true,
		colons:      1, // IAM completes "arn:aws:s3" with wildcards
		uniqueSIDs:  true,
		forbidden:   []forbidden{{"Principal", noPrincipal}, {"NotPrincipal", noPrincipal}},
		checkAction: checkIdentityAction,
		noAction:    "Policy statement must contain actions.",
	}
}

// trustPolicy takes neither NotPrincipal (IAM User Guide, "AWS JSON policy
// elements: NotPrincipal") nor NotAction, which would allow what nobody listed.
func trustPolicy() dialect {
	return dialect{
		sentence:   malformed,
		explains:   true,
		principals: true,
		uniqueSIDs: true,
		forbidden: []forbidden{
			{"Resource", "Has prohibited field Resource"},
			{"NotResource", "Has prohibited field NotResource"},
			{"NotPrincipal", "Has prohibited field NotPrincipal"},
			{"NotAction", "Has prohibited field NotAction"},
		},
		checkAction: checkTrustAction,
		noAction:    "Missing required field Action",
	}
}
