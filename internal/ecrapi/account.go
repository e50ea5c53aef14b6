package ecrapi

import (
	"context"
	"encoding/base64"
	"time"

	"berth/internal/access/token"
	"berth/internal/ecr"
	"berth/internal/meta"
)

// getAuthorizationToken gives the caller a password for docker login. One
// password is good for every registry that the caller may reach, so each entry
// carries it. It ends with the session that asked for it (API_GetAuthorizationToken;
// ECR User Guide, "Private registry authentication").
func getAuthorizationToken(d *Door, _ context.Context, c call, in *ecr.GetAuthorizationTokenInput) (any, error) {
	length := token.Lifetime
	if !c.expires.IsZero() {
		length = max(time.Second, min(length, time.Until(c.expires)))
	}
	password, expires, err := d.Tokens.Issue(c.principal, c.region, length)
	if err != nil {
		return nil, err
	}
	accounts := in.RegistryIDs
	if len(accounts) == 0 {
		accounts = []string{c.principal.Account}
	}
	out := &ecr.GetAuthorizationTokenOutput{}
	for _, a := range accounts {
		out.AuthorizationData = append(out.AuthorizationData, ecr.AuthorizationData{
			AuthorizationToken: base64.StdEncoding.EncodeToString([]byte("AWS:" + password)),
			ExpiresAt:          ecr.At(expires),
			ProxyEndpoint:      d.Endpoint(meta.Scope{Account: a, Region: c.region}),
		})
	}
	return out, nil
}

// getAccountSetting reads one setting (API_GetAccountSetting).
func getAccountSetting(d *Door, ctx context.Context, c call, in *ecr.GetAccountSettingInput) (any, error) {
	value, err := d.Registry.AccountSetting(ctx, c.scope, in.Name)
	if err != nil {
		return nil, err
	}
	return &ecr.GetAccountSettingOutput{Name: in.Name, Value: value}, nil
}

// putAccountSetting changes one setting (API_PutAccountSetting).
func putAccountSetting(d *Door, ctx context.Context, c call, in *ecr.PutAccountSettingInput) (any, error) {
	if err := d.Registry.SetAccountSetting(ctx, c.scope, in.Name, in.Value); err != nil {
		return nil, err
	}
	return &ecr.PutAccountSettingOutput{Name: in.Name, Value: in.Value}, nil
}
