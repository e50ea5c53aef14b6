package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/module"
	"berth/internal/server"
)

// newUpCommand is `berth up`: a registry with the module block in it.
func newUpCommand(env *environment) *cobra.Command {
	var flags serverFlags
	var engine engineFlags
	var planning planFlags
	var autoApprove bool
	cmd := &cobra.Command{
		Use:   "up [DIR | FILE.tfvars]",
		Short: "Run a registry on this machine and apply the module block in DIR to it",
		Long: `Starts the registry, applies the module block found in DIR (default: the current directory), prints the
outputs and the next commands to type, and serves until it is interrupted. The data stays in the data directory, so
that the next run finds everything as it was.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// A broken block is found before anything is made.
			stack, err := engine.load(env, directory(args))
			if err != nil {
				return err
			}
			s, err := flags.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			return up(cmd.Context(), env, s, stack, upOptions{flags.cfg.Data, planning, autoApprove})
		},
	}
	flags.register(cmd.Flags(), "./.berth", "warn", true)
	addAssignFlags(cmd.Flags(), &engine.assign)
	cmd.Flags().StringVar(&engine.stack, "stack", "", "name of the stack that owns the repositories (BERTH_STACK; default: derived from the directory)")
	planning.register(cmd)
	cmd.Flags().BoolVar(&autoApprove, "auto-approve", false, "do not ask before something is destroyed")
	return cmd
}

// upOptions are the user's choices that do not concern the server.
type upOptions struct {
	data        string
	planning    planFlags
	autoApprove bool
}

// up serves while it applies the stack, and goes on serving.
func up(ctx context.Context, env *environment, s *server.Server, stack *module.Stack, opt upOptions) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.Run(ctx) }()

	outputs, err := applyHere(ctx, env, s, stack, opt)
	if err == nil {
		err = nextCommands(env, s, outputs, opt.data)
	}
	if err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	return <-served
}

func hereOptions(s *server.Server, stack *module.Stack) module.ClientOptions {
	opt := stack.ClientOptions()
	opt.Endpoint, opt.STSEndpoint, opt.Profile, opt.SessionToken = s.Endpoint(), s.Endpoint(), "", ""
	opt.AccessKeyID, opt.SecretAccessKey = s.Root().AccessKeyID, s.Root().SecretAccessKey
	opt.CABundle = s.CA()
	if opt.Region == "" {
		opt.Region = s.Region()
	}
	return opt
}

// applyHere applies the stack to the registry that runs in this process, and
// prints the outputs.
func applyHere(ctx context.Context, env *environment, s *server.Server, stack *module.Stack, opt upOptions) (outputs module.Outputs, err error) {
	client, err := module.NewClient(ctx, hereOptions(s, stack))
	if err != nil {
		return outputs, err
	}
	p, err := stack.Plan(ctx, client, opt.planning.options())
	if err != nil {
		return outputs, err
	}
	if err := errors.Join(printAll(env.stderr, "Warning: ", p.Warnings()), blocked(p)); err != nil {
		return outputs, err
	}
	if err := announce(ctx, env, client, p, opt); err != nil {
		return outputs, err
	}
	if p.HasChanges() {
		if _, err := carryOut(ctx, client, p, env.stdout); err != nil {
			return outputs, err
		}
	}
	if outputs, err = stack.Outputs(ctx, client); err != nil {
		return outputs, err
	}
	if _, err := fmt.Fprint(env.stdout, "\nOutputs:\n\n"); err != nil {
		return outputs, err
	}
	return outputs, outputs.WriteText(env.stdout)
}

// announce says what will be done. Only what destroys something is asked about.
func announce(ctx context.Context, env *environment, client *module.Client, p *module.Plan, opt upOptions) error {
	ask := p.Counts().Destroyed > 0 && !opt.autoApprove
	var err error
	if ask {
		err = p.WriteText(env.stdout, useColor(env, env.stdout))
	} else {
		_, err = fmt.Fprintf(env.stdout, "\n%s\n", strings.TrimSpace(p.Summary()))
	}
	if err != nil {
		return err
	}
	if _, err := opt.planning.impact.check(ctx, env, client, p, env.stdout); err != nil {
		return err
	}
	if !ask {
		_, err := fmt.Fprintln(env.stdout)
		return err
	}
	return confirm(env, "This destroys something. Do you want to perform these actions?")
}

// nextCommands prints what to type in a second shell.
func nextCommands(env *environment, s *server.Server, outputs module.Outputs, data string) error {
	berth := invocation() + " env"
	if filepath.Clean(data) != ".berth" {
		berth += " --data " + shellQuote(data)
	}
	host := s.RegistryHost()
	login, err := outputs.Raw("docker_login_command")
	if err != nil {
		login = "aws ecr get-login-password | docker login --username AWS --password-stdin " + host
	}
	image := firstRepository(outputs)
	if image == "" {
		image = host + "/REPOSITORY"
	}
	_, err = fmt.Fprintf(env.stdout, `
Next, in another shell:

  eval "$(%s)"
  %s
  docker tag IMAGE %s:latest
  docker push %s:latest
  aws ecr describe-repositories

Serving until you press Ctrl-C. The data stays in %s.
`, berth, login, image, image, data)
	return err
}

// firstRepository is the URL of one repository of the stack, for an example.
func firstRepository(outputs module.Outputs) string {
	b, err := outputs.JSON("repository_urls")
	if err != nil {
		return ""
	}
	var urls map[string]string
	if err := json.Unmarshal(b, &urls); err != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(urls)) {
		return urls[name]
	}
	return ""
}
