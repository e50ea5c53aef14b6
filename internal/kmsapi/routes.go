package kmsapi

// routes lists every operation that the door offers. Which of them cross
// accounts, the KMS API reference says on the page of each.
func routes() []route {
	return []route{
		{operation: "CreateKey", decode: createKey},
		{operation: "DescribeKey", crossAccount: true, decode: describeKey},
		{operation: "ListKeys", decode: listKeys},
		{operation: "UpdateKeyDescription", decode: updateKeyDescription},
		{operation: "EnableKey", decode: enableKey},
		{operation: "DisableKey", decode: disableKey},
		{operation: "ScheduleKeyDeletion", decode: scheduleKeyDeletion},
		{operation: "CancelKeyDeletion", decode: cancelKeyDeletion},

		{operation: "CreateAlias", decode: createAlias},
		{operation: "UpdateAlias", decode: updateAlias},
		{operation: "DeleteAlias", decode: deleteAlias},
		{operation: "ListAliases", decode: listAliases},

		{operation: "GetKeyPolicy", decode: getKeyPolicy},
		{operation: "PutKeyPolicy", decode: putKeyPolicy},
		{operation: "ListKeyPolicies", decode: listKeyPolicies},

		{operation: "GetKeyRotationStatus", crossAccount: true, decode: getKeyRotationStatus},
		{operation: "EnableKeyRotation", decode: enableKeyRotation},
		{operation: "DisableKeyRotation", decode: disableKeyRotation},
		{operation: "RotateKeyOnDemand", decode: rotateKeyOnDemand},
		{operation: "ListKeyRotations", decode: listKeyRotations},

		{operation: "ListResourceTags", decode: listResourceTags},
		{operation: "TagResource", decode: tagResource},
		{operation: "UntagResource", decode: untagResource},

		{operation: "Encrypt", crossAccount: true, decode: encrypt},
		{operation: "Decrypt", crossAccount: true, decode: decrypt},
		{operation: "GenerateDataKey", crossAccount: true, decode: generateDataKey},
		{operation: "GenerateDataKeyWithoutPlaintext", crossAccount: true, decode: generateDataKeyWithoutPlaintext},
	}
}

// onKey is the action of an operation that acts on the key in KeyId and answers
// nothing.
func onKey(in *input, run func(c *call, arn string) error) action {
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) { return nil, run(c, c.arns[0]) }}
}
