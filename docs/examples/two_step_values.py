"""Print Q_tot of every joint action in every state of the two-step game, as a run has learnt it.

python docs/examples/two_step_values.py my_vdn.py runs/<run>
"""

import runpy
import sys
from pathlib import Path

import torch

path, run = sys.argv[1:]
script = runpy.run_path(path)
saved = torch.load(Path(run, "model.pt"), weights_only=True)
args = saved["args"]

# An observation has 3 numbers of the state and 2 of the agent's id. There are 2 actions.
q_network = script["QNetwork"](5, 2, args["hidden_dim"], args["num_layers"])
q_network.load_state_dict(saved["q_network"])
if saved["mixer"]:
    mixer = script["Mixer"](2, 3, args["hyper_dim"])
    mixer.load_state_dict(saved["mixer"])
else:  # VDN's has no weights
    mixer = script["Mixer"]()

states = torch.eye(3)  # 1, 2A and 2B
ids = torch.eye(2).expand(3, 2, 2)
obs = torch.cat([states.unsqueeze(1).expand(3, 2, 3), ids], dim=-1)  # (state, agent, feature)
with torch.no_grad():
    q_values = q_network(obs)  # (state, agent, action)
    print("state,action of agent 1,Q_tot if agent 2 takes 0,Q_tot if agent 2 takes 1")
    for state, name in enumerate(("1", "2A", "2B")):
        for first in range(2):
            cells = [name, str(first)]
            for second in range(2):
                pair = torch.stack([q_values[state, 0, first], q_values[state, 1, second]])
                q_total = mixer(pair, states[state]).item()
                cells.append(f"{round(q_total, 2) + 0:.2f}")  # + 0: not -0.00
            print(",".join(cells))
