package iamapi

import "berth/internal/meta"

// actions are all operations that the door offers.
func actions() map[string]action {
	const user, role = meta.KindUser, meta.KindRole
	return map[string]action{
		"GetCallerIdentity": {stsService, nil, getCallerIdentity},
		"GetSessionToken":   {stsService, nil, getSessionToken},
		"GetAccessKeyInfo":  {stsService, nil, getAccessKeyInfo},
		"AssumeRole":        {stsService, nil, assumeRole},

		"AssumeRoleWithWebIdentity": {unsigned, nil, assumeRoleWithWebIdentity},

		"CreateUser":   {iamService, made(user), createUser},
		"GetUser":      {iamService, own, getUser},
		"ListUsers":    {iamService, every(user), listUsers},
		"UpdateUser":   {iamService, named(user), on(meta.KindUser, updateUser)},
		"DeleteUser":   {iamService, named(user), remove(user)},
		"TagUser":      {iamService, named(user), tag(user)},
		"UntagUser":    {iamService, named(user), untag(user)},
		"ListUserTags": {iamService, named(user), listTags(user)},

		"CreateAccessKey":      {iamService, own, ofOwner(createAccessKey)},
		"ListAccessKeys":       {iamService, own, ofOwner(listAccessKeys)},
		"UpdateAccessKey":      {iamService, own, onAccessKey(updateAccessKey)},
		"DeleteAccessKey":      {iamService, own, onAccessKey(deleteAccessKey)},
		"GetAccessKeyLastUsed": {iamService, everything, getAccessKeyLastUsed},

		"PutUserPolicy":                 {iamService, named(user), putPolicy(user)},
		"GetUserPolicy":                 {iamService, named(user), getPolicy(user)},
		"ListUserPolicies":              {iamService, named(user), listInline(user)},
		"DeleteUserPolicy":              {iamService, named(user), deletePolicy(user)},
		"AttachUserPolicy":              {iamService, named(user), attach(user)},
		"DetachUserPolicy":              {iamService, named(user), detach(user)},
		"ListAttachedUserPolicies":      {iamService, named(user), listAttached(user)},
		"PutUserPermissionsBoundary":    {iamService, named(user), putBoundary(user)},
		"DeleteUserPermissionsBoundary": {iamService, named(user), deleteBoundary(user)},

		// What users do not have here.
		"ListGroupsForUser":              {iamService, named(user), nothing("Groups")},
		"GetLoginProfile":                {iamService, own, ofOwner(getLoginProfile)},
		"DeleteLoginProfile":             {iamService, own, ofOwner(getLoginProfile)},
		"ListMFADevices":                 {iamService, own, nothing("MFADevices")},
		"ListVirtualMFADevices":          {iamService, everything, nothing("VirtualMFADevices")},
		"ListSigningCertificates":        {iamService, own, nothing("Certificates")},
		"ListSSHPublicKeys":              {iamService, own, nothing("SSHPublicKeys")},
		"ListServiceSpecificCredentials": {iamService, own, nothing("ServiceSpecificCredentials")},

		"CreatePolicy":            {iamService, madePolicy, createPolicy},
		"GetPolicy":               {iamService, policyARN, getManaged},
		"ListPolicies":            {iamService, everything, listPolicies},
		"DeletePolicy":            {iamService, policyARN, deleteManaged},
		"CreatePolicyVersion":     {iamService, policyARN, createVersion},
		"GetPolicyVersion":        {iamService, policyARN, getVersion},
		"ListPolicyVersions":      {iamService, policyARN, listVersions},
		"SetDefaultPolicyVersion": {iamService, policyARN, setDefaultVersion},
		"DeletePolicyVersion":     {iamService, policyARN, deleteVersion},
		"TagPolicy":               {iamService, policyARN, tagPolicy},
		"UntagPolicy":             {iamService, policyARN, untagPolicy},
		"ListPolicyTags":          {iamService, policyARN, listPolicyTags},

		"CreateRole":                    {iamService, made(role), createRole},
		"GetRole":                       {iamService, named(role), on(meta.KindRole, getRole)},
		"ListRoles":                     {iamService, every(role), listRoles},
		"DeleteRole":                    {iamService, named(role), remove(role)},
		"UpdateRole":                    {iamService, named(role), on(meta.KindRole, updateRole)},
		"UpdateAssumeRolePolicy":        {iamService, named(role), on(meta.KindRole, updateTrust)},
		"TagRole":                       {iamService, named(role), tag(role)},
		"UntagRole":                     {iamService, named(role), untag(role)},
		"ListRoleTags":                  {iamService, named(role), listTags(role)},
		"PutRolePolicy":                 {iamService, named(role), putPolicy(role)},
		"GetRolePolicy":                 {iamService, named(role), getPolicy(role)},
		"ListRolePolicies":              {iamService, named(role), listInline(role)},
		"DeleteRolePolicy":              {iamService, named(role), deletePolicy(role)},
		"AttachRolePolicy":              {iamService, named(role), attach(role)},
		"DetachRolePolicy":              {iamService, named(role), detach(role)},
		"ListAttachedRolePolicies":      {iamService, named(role), listAttached(role)},
		"PutRolePermissionsBoundary":    {iamService, named(role), putBoundary(role)},
		"DeleteRolePermissionsBoundary": {iamService, named(role), deleteBoundary(role)},
		"ListInstanceProfilesForRole":   {iamService, named(role), nothing("InstanceProfiles")},

		"CreateOpenIDConnectProvider":             {iamService, madeProvider, createProvider},
		"GetOpenIDConnectProvider":                {iamService, providerARN, getProvider},
		"ListOpenIDConnectProviders":              {iamService, everything, listProviders},
		"DeleteOpenIDConnectProvider":             {iamService, providerARN, deleteProvider},
		"UpdateOpenIDConnectProviderThumbprint":   {iamService, providerARN, updateThumbprints},
		"AddClientIDToOpenIDConnectProvider":      {iamService, providerARN, addClient},
		"RemoveClientIDFromOpenIDConnectProvider": {iamService, providerARN, removeClient},
		"TagOpenIDConnectProvider":                {iamService, providerARN, tagProvider},
		"UntagOpenIDConnectProvider":              {iamService, providerARN, untagProvider},
		"ListOpenIDConnectProviderTags":           {iamService, providerARN, listProviderTags},

		// Berth's own: accounts, and why requests are allowed or denied. For the root user of the home account.
		"BerthCreateAccount": {iamService, nil, createAccount},
		"BerthListAccounts":  {iamService, nil, listAccounts},
		"BerthDeleteAccount": {iamService, nil, deleteAccount},
		"BerthRotateRootKey": {iamService, nil, rotateRootKey},
		"BerthExplainAccess": {iamService, nil, explainAccess},
	}
}
