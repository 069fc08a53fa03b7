#!/bin/bash
# Eight devices on each of two machines.
export WANDB_MODE=offline
accelerate launch --num_processes 16 --mixed_precision bf16 \
    open_instruct/finetune.py \
    --model_name_or_path acme/base-8b \
    --dataset_mixer_list acme/general 1.0 "acme/math" 12500 \
    --dataset_mixer_list_splits train main \
    --use_lora --lora_rank 64 --lora_alpha=16 --lora_dropout 0.1 \
    --max_seq_length 2048 --learning_rate 1e-4 --max_train_steps 400 \
    --final_lr_ratio 0.1 --clip_grad_norm 1.0 --seed 8 \
    --hf_token 'hf_qwertyuiopasdfghjklz' \
    --report_to wandb
echo done
