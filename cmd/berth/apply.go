package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"berth/internal/module"
)

// newApplyCommand is `berth apply`: makes the registry match the configuration.
func newApplyCommand(env *environment) *cobra.Command {
	var flags engineFlags
	var planning planFlags
	var autoApprove, asJSON bool
	cmd := &cobra.Command{
		Use:   "apply [DIR | FILE.tfvars]",
		Short: "Create and change repositories as the module block says, without Terraform",
		Long: `Plans like berth plan, asks for approval, and makes the registry match the module block in DIR
(default: the current directory). Then it prints the outputs.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && !autoApprove {
				return errors.New("--json leaves no room for a question: pass --auto-approve with it")
			}
			ctx := cmd.Context()
			stack, client, err := flags.open(ctx, env, directory(args))
			if err != nil {
				return err
			}
			p, err := stack.Plan(ctx, client, planning.options())
			if err != nil {
				return err
			}
			out := env.stdout
			if asJSON {
				out = io.Discard
				err = printAll(env.stderr, "Warning: ", p.Warnings())
			} else {
				err = showPlan(env, p)
			}
			if err := errors.Join(err, blocked(p)); err != nil {
				return err
			}
			if _, err := planning.impact.check(ctx, env, client, p, out); err != nil {
				return err
			}
			if p.HasChanges() && !autoApprove {
				if err := confirm(env, "Do you want to perform these actions?"); err != nil {
					return err
				}
			}
			result, err := carryOut(ctx, client, p, out)
			if err != nil {
				return err
			}
			outputs, err := stack.Outputs(ctx, client)
			if err != nil {
				return err
			}
			if asJSON {
				return applyJSON(env.stdout, result, outputs)
			}
			return applyText(env.stdout, result, outputs)
		},
	}
	flags.register(cmd)
	planning.register(cmd)
	cmd.Flags().BoolVar(&autoApprove, "auto-approve", false, "do not ask for approval")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the counts and the outputs as one JSON object; needs --auto-approve")
	return cmd
}

// applyText prints the last lines of an apply.
func applyText(w io.Writer, result module.Result, outputs module.Outputs) error {
	_, err := fmt.Fprintf(w, "\nApply complete! Resources: %d added, %d changed, %d destroyed.\n", result.Added, result.Changed, result.Destroyed)
	if err != nil || len(outputs.Names()) == 0 {
		return err
	}
	if _, err := fmt.Fprint(w, "\nOutputs:\n\n"); err != nil {
		return err
	}
	return outputs.WriteText(w)
}

func applyJSON(w io.Writer, result module.Result, outputs module.Outputs) error {
	b, err := json.Marshal(struct {
		Result  module.Result  `json:"result"`
		Outputs module.Outputs `json:"outputs"`
	}{result, outputs})
	if err != nil {
		return fmt.Errorf("the result cannot be written as JSON: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}
