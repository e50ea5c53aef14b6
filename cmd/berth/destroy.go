package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newDestroyCommand is `berth destroy`: deletes what the stack owns.
func newDestroyCommand(env *environment) *cobra.Command {
	var flags engineFlags
	var judge impactFlags
	var autoApprove bool
	cmd := &cobra.Command{
		Use:   "destroy [DIR | FILE.tfvars]",
		Short: "Delete the repositories that the module block in DIR created",
		Long: `Deletes every repository that this stack owns, and the pull-through cache rules that the
configuration names. A repository that holds images stays, unless force_delete is set in the configuration.
Repositories without the tag of this stack are never touched.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			stack, client, err := flags.open(ctx, env, directory(args))
			if err != nil {
				return err
			}
			p, err := stack.PlanDestroy(ctx, client, (&planFlags{}).options())
			if err != nil {
				return err
			}
			// The warnings of the module are about what it creates.
			if err := p.WriteText(env.stdout, useColor(env, env.stdout)); err != nil {
				return err
			}
			if err := blocked(p); err != nil {
				return err
			}
			if _, err := judge.check(ctx, env, client, p, env.stdout); err != nil {
				return err
			}
			if p.HasChanges() && !autoApprove {
				if err := confirm(env, "Do you really want to destroy all of this? There is no undo."); err != nil {
					return err
				}
			}
			result, err := carryOut(ctx, client, p, env.stdout)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.stdout, "\nDestroy complete! Resources: %d destroyed.\n", result.Destroyed)
			return err
		},
	}
	flags.register(cmd)
	judge.register(cmd.Flags())
	cmd.Flags().BoolVar(&autoApprove, "auto-approve", false, "do not ask for approval")
	return cmd
}
